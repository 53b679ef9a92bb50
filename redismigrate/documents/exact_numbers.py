"""Lua that spells the numbers of a JSON text so that the server reads them as what it prints.

RedisJSON prints a float with as many digits as tell it from its neighbours. It reads one by multiplying or
dividing its digits by a power of ten, which rounds twice: of those with an exponent one in thirty comes out
as a neighbour (seen on RedisJSON 2.8.3; those without exponent come out right). So a text that it has printed
is not always one that gives the same document. Another spelling of the same number is, as a rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from redismigrate.documents.json_members import parsed_json, why_not_writable
from redismigrate.documents.json_numbers import spelled

# Those without come out right.
_WITH_EXPONENT = re.compile(rb"\d[eE][-+]?\d")

# `exact_text(text)`: the text with other spellings where that is needed; nil where a number has none. The
# digits of every spelling, as a whole number, fit 64 bits. A reader that rounds once gets the same number.
EXACT_TEXT = """
local exact_text
do
  local function as_read(digits, exponent)
    local value = tonumber(digits)
    while math.abs(exponent) > 308 do
      if value == 0 then return 0 end
      if exponent > 0 then return nil end
      value = value / 1e308
      exponent = exponent + 308
    end
    local power = tonumber('1e' .. math.abs(exponent))
    return exponent < 0 and value / power or value * power
  end
  local function is_exact(digits, exponent, value)
    return as_read(digits, exponent) == value and tonumber(digits .. 'e' .. exponent) == value
  end
  local function parts_of(text)
    local whole, fraction, exponent = string.match(text, '^(%d+)%.?(%d*)[eE]([-+]?%d+)$')
    return whole .. fraction, tonumber(exponent) - #fraction
  end
  local function spelling(text)
    local value = tonumber(text)
    local digits, exponent = parts_of(text)
    if is_exact(digits, exponent, value) then return text end
    for _, form in ipairs({'%.16e', '%.17e', '%.18e'}) do
      digits, exponent = parts_of(string.format(form, value))
      if is_exact(digits, exponent, value) then return digits .. 'e' .. exponent end
    end
    -- Of 19 digits the last four are beyond what a float holds.
    local head, tail = string.sub(digits, 1, -6), tonumber(string.sub(digits, -5))
    for step = 1, 1500 do
      for sign = -1, 1, 2 do
        local near = tail + sign * step
        if near >= 0 and near <= 99999 then
          local found = head .. string.format('%05d', near)
          if is_exact(found, exponent, value) then return found .. 'e' .. exponent end
        end
      end
    end
    return nil
  end
  exact_text = function(text)
    if not string.find(text, '%d[eE][-+]?%d') then return text end
    local parts, at, has_all = {}, 1, true
    local function spelled(number)
      local found = spelling(number)
      if not found then has_all = false end
      return found
    end
    while true do
      local quote = string.find(text, '"', at, true)
      local between = string.sub(text, at, quote and quote - 1)
      parts[#parts + 1] = (string.gsub(between, '%d+%.?%d*[eE][-+]?%d+', spelled))
      if not quote then break end
      local stop = quote
      repeat
        stop = string.find(text, '["\\\\]', stop + 1)
        local is_end = string.byte(text, stop) == 34
        if not is_end then stop = stop + 1 end
      until is_end
      parts[#parts + 1] = string.sub(text, quote, stop)
      at = stop + 1
    end
    if has_all then return table.concat(parts) end
  end
end
"""
UNSPELLABLE = "ERR it holds a number that the server does not read as it prints it"


def why_not_written_again(text: bytes) -> str | None:
    """Why a value of a JSON document could not be written again as it is; None where it could.

    Args:
        text: Of the value, as the server prints it.
    """
    reason = why_not_writable(text)
    if reason is not None or not _WITH_EXPONENT.search(text):
        return reason
    is_lost = any(spelled(number) is None for number in _floats(parsed_json(text)))
    return UNSPELLABLE.removeprefix("ERR ") if is_lost else None


def _floats(value: Any) -> Iterator[float]:
    """The numbers of a JSON value that are no integers."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _floats(each)
