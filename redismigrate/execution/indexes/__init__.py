"""Live indexes: looked at, waited for, compared with what is wanted."""
