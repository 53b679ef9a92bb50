"""Scratch."""
import json, random, struct
import numpy as np
import pytest

DIMS=8
def vec(dt='<f4', seed=0):
    return np.random.default_rng(seed).normal(size=DIMS).astype(dt).tobytes()

def create(name='products', prefix='p:', datatype='float32'):
    return f"""
op.create_index({{"index": {{"name": {name!r}, "prefix": {prefix!r}}}, "fields": [
  {{"name":"title","type":"text"}},
  {{"name":"embedding","type":"vector","attrs":{{"algorithm":"flat","dims":{DIMS},"distance_metric":"l2","datatype":{datatype!r}}}}}]}})
"""
def fill(shop, prefix='p:', n=50, start=0):
    for i in range(start, start+n):
        shop.client.hset(f'{prefix}{i}', mapping={'title':f'shoe {i}','embedding':vec(seed=i)})

def docs(shop):
    return {k:(shop.client.dump(k), shop.client.pexpiretime(k)) for k in sorted(shop.client.scan_iter()) if not k.startswith(b'{redismigrate')}
def rows(shop):
    return {k:shop.client.hgetall(k) for k in sorted(shop.client.scan_iter()) if not k.startswith(b'{redismigrate')}

def up(shop,*a, code=0, verb='upgrade'):
    r=shop.run(verb,*a); 
    assert r.code==code, r.err
    print(r.out, r.err)
    return r

F16="with op.index({!r}) as index:\n    index.alter_field('embedding', datatype='float16')\n"
F32="with op.index({!r}) as index:\n    index.alter_field('embedding', datatype='float32')\n"

def test_two_same(shop):
    fill(shop)
    shop.write(create()+create('second')); up(shop)
    before=rows(shop)
    shop.write(F16.format('products')+F16.format('second'), F32.format('second')+F32.format('products'))
    up(shop)
    assert all(len(d[b'embedding'])==16 for d in rows(shop).values())
    assert shop.hits('products')==shop.hits('second')==50
    up(shop,'-1',verb='downgrade')
    assert rows(shop)==before

def test_two_partial(shop):
    fill(shop,'p:a:'); fill(shop,'p:b:')
    shop.write(create('a','p:a:')+create('b','p:')); up(shop)
    before=rows(shop)
    shop.write(F16.format('a')+F16.format('b'), F32.format('b')+F32.format('a'))
    up(shop)
    assert all(len(d[b'embedding'])==16 for d in rows(shop).values())
    assert shop.hits('a')==50; assert shop.hits('b')==100
    up(shop,'-1',verb='downgrade')
    assert rows(shop)==before

@pytest.mark.parametrize('second', ["index.rename_field('title','name')", "index.change_prefix('p:','q:')"])
def test_two_blocks_fail(shop, second):
    fill(shop)
    shop.write(create()); up(shop)
    before=rows(shop)
    shop.write(F16.format('products')+"with op.index('products') as index:\n    "+second+"\nop.run(fail)", preamble="def fail(client):\n    raise ValueError('no')")
    r=up(shop,'--exclusive',code=1)
    assert rows(shop)==before

@pytest.mark.parametrize('second', ["index.rename_field('title','name')", "index.change_prefix('p:','q:')"])
def test_two_blocks_down(shop, second):
    fill(shop)
    shop.write(create()); up(shop)
    before=rows(shop)
    back={"index.rename_field('title','name')":"index.rename_field('name','title')", "index.change_prefix('p:','q:')":"index.change_prefix('q:','p:')"}[second]
    shop.write(F16.format('products')+"with op.index('products') as index:\n    "+second, "with op.index('products') as index:\n    "+back+"\n"+F32.format('products'))
    r=up(shop,'--exclusive')
    up(shop,'-1','--exclusive',verb='downgrade')
    assert rows(shop)==before

def test_two_blocks_recodings(shop):
    fill(shop)
    shop.write(create()); up(shop)
    before=rows(shop)
    B=F16.replace('float16','bfloat16')
    shop.write(F16.format('products')+B.format('products'), F16.format('products')+F32.format('products'))
    up(shop)
    up(shop,'-1',verb='downgrade')
    assert rows(shop)==before

def test_json_floats(client):
    rng=random.Random(1); bad=0
    for i in range(20000):
        x=struct.unpack('d',rng.randbytes(8))[0]
        if x!=x or abs(x)==float('inf'): continue
        client.execute_command('JSON.SET','j','$',json.dumps({'a':x}))
        t=client.execute_command('JSON.GET','j','$.a')[1:-1]
        whole=client.execute_command('JSON.GET','j')
        client.execute_command('JSON.SET','j','$.b',t)
        t2=client.execute_command('JSON.GET','j','$.b')[1:-1]
        if t!=t2:
            bad+=1
            if bad<5: print(x,t,t2)
    print('bad',bad)
    assert not bad
