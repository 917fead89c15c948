"""Exhaustive check of the conversion protocol of docs/crash-consistency.md on a tiny volume: four sectors, two metadata replicas.

Device: durable map + pending writes per location; at a power cut each location keeps its durable value or any pending one, independently.
A conversion record is one location per slot (a torn record fails its MAC: INVALID). A metadata block is one location per replica.
Users overwrite sectors wherever the gate is open; a user write is 'durable' once a later flush returned, otherwise old or new is right.
A commit may fail for good: then the zone is protected again, put back, released and opened. Recovery is itself cut once at every event.
Variants weaken the protocol on purpose and must be found out; the exit code says whether all of them were, and the protocol was not.
Run: python3 tests/model/conversion_model.py [variant ...]
"""
import copy, itertools, sys

N, STEP, REPLICAS, BITS = 4, 2, (0, 1), 7
E = lambda i, p: ('E', i, p)
D = lambda i, c: c[2] if isinstance(c, tuple) and c[0] == 'E' and c[1] == i else ('D', i, c)


class Device:
    def __init__(self, durable): self.d, self.p = dict(durable), {}
    def write(self, k, v): self.p.setdefault(k, []).append(v)
    def read(self, k): return self.p[k][-1] if self.p.get(k) else self.d.get(k)
    def flush(self):
        for k, v in self.p.items(): self.d[k] = v[-1]
        self.p = {}
    def survivors(self):
        ks = list(self.p)
        opts = [[self.d.get(k)] + self.p[k] + (['INVALID'] if k[0] == 'rec' else []) for k in ks]
        for c in itertools.product(*opts):
            d = dict(self.d); d.update(zip(ks, c)); yield d


def newest(get):
    v = [r for r in (get(('rec', 0)), get(('rec', 1))) if isinstance(r, dict)]
    return max(v, key=lambda r: r['gen']) if v else None


class Journal:                                       # never writes the slot of the newest durable record
    def __init__(self, dev, rec, salts): self.dev, self.gen, self.salts = dev, rec['gen'], set(salts)
    def put(self, b, z, dig, way, upcoming=None):
        cur = newest(self.dev.d.get)
        slot = next(1 - s for s in (0, 1) if self.dev.d.get(('rec', s)) is cur)
        self.gen += 1
        named = self.salts | ({upcoming} if upcoming else set())
        self.dev.write(('rec', slot), dict(gen=self.gen, b=b, z=z, dig=dig, way=way, salts=frozenset(named)))


class Salts:
    n = 0
    @classmethod
    def draw(cls): cls.n += 1; return cls.n


def zone(b, way):
    z = (b, min(b + STEP, N)) if way == 'enc' else (max(b - STEP, 0), b)
    return z if z[0] < z[1] else None


def images(dev, z, way):                             # both sides, digests of the ciphertext side
    old = {i: dev.read(('s', i)) for i in range(*z)}
    new = {i: (E(i, x) if way == 'enc' else D(i, x)) for i, x in old.items()}
    return old, new, {i: (new[i] if way == 'enc' else old[i]) for i in old}


def settle(acked):                                   # a flush returned: earlier user writes are durable
    for i, vs in acked['flight'].items(): acked['dur'][i] = vs[-1]
    acked['flight'] = {}


def convert(dev, way, b, journal, user, hook, acked, weak, fails):
    def users(sectors, boundary, always=False):      # whether any of them was written
        any_ = False
        for i in sectors:
            if always or user():
                v = ('u', i, acked['n']); acked['n'] += 1; any_ = True
                dev.write(('s', i), E(i, v) if i < boundary else v)
                acked['flight'].setdefault(i, []).append(v); hook(dev)
        return any_
    def barrier(name):
        if weak != name: dev.flush(); settle(acked)
        hook(dev)
    def put(*entry): journal.put(*entry); hook(dev)
    def blocks(s, at):
        for k in REPLICAS: dev.write(('blk', k), (s, at, way)); hook(dev)
    def data(side):
        for i, x in side.items(): dev.write(('s', i), x); hook(dev)
    z = zone(b, way)
    if users(range(*z), b): barrier('zone not flushed')      # closed now; what was written there must not be less durable than its digests
    old, new, dig = images(dev, z, way)
    put(b, z, dig, way); barrier('no protect flush')
    pending = None
    while z:
        if pending: blocks(*pending)                  # blocks lag: their record is already durable
        users([i for i in range(N) if not z[0] <= i < z[1]], b)
        after = z[1] if way == 'enc' else z[0]
        nz = zone(after, way)                         # watched from here on
        data(new)
        nold, nnew, ndig = images(dev, nz, way) if nz else ({}, {}, {})   # read ahead: its gate is open
        touched = nz and users(range(*nz), b)
        barrier('no data flush')
        if pending: journal.salts = {pending[0]}; pending = None
        if weak == 'gate opened early': users(range(*z), after)
        touched = (nz and users(range(*nz), b)) or touched
        if touched:                                   # closed now; written to since it is watched: flushed, and read again
            barrier('zone not flushed')
            if weak != 'read ahead believed': nold, nnew, ndig = images(dev, nz, way)
        salt = Salts.draw()
        put(after, nz, ndig, way, salt)
        if weak == 'blocks with the record': blocks(salt, after)
        if fails:                                     # the flush of the commit fails, for good: back to the old side
            if weak != 'no second protection': put(b, z, dig, way); barrier('')
            data(old); barrier('no restore flush')
            if weak != 'no release': put(b, None, {}, way); barrier('')
            users(range(*z), b, always=True)
            dev.flush(); settle(acked); hook(dev)
            return
        barrier('no commit flush')
        journal.salts.add(salt)
        if weak != 'blocks with the record': pending = (salt, after)
        done, b, z, old, new, dig = z, after, nz, nold, nnew, ndig
        users(range(*done), b)                        # the gate on the finished zone is open now
    if pending: blocks(*pending); dev.flush(); settle(acked); hook(dev)


class Refused(Exception): pass


def recover(dev, hook):
    r = newest(dev.d.get); blks = [dev.d[('blk', k)] for k in REPLICAS]
    foreign = [x for x in blks if x[0] not in r['salts']]
    if foreign:                                       # another implementation advanced the volume?
        if r['z']: raise Refused
        return (max if foreign[0][2] == 'enc' else min)(foreign, key=lambda x: x[1])[1]
    b, z = r['b'], r['z']
    if z:
        for i in range(*z):
            x, c = dev.read(('s', i)), r['dig'][i]
            if x != c and E(i, x) != c: return None   # neither side: damaged, reported
            want = c if r['way'] == 'enc' else D(i, c)
            if x != want: dev.write(('s', i), want); hook(dev)
        dev.flush(); hook(dev)
        b = z[1] if r['way'] == 'enc' else z[0]; s = Salts.draw()
        journal = Journal(dev, r, {x[0] for x in blks})
        journal.put(b, None, {}, r['way'], s); hook(dev)
        dev.flush(); hook(dev)
        for k in REPLICAS: dev.write(('blk', k), (s, b, r['way'])); hook(dev)
        dev.flush(); hook(dev)
    return b


def check(d, acked, stat, depth=0):
    stat['cuts'] += 1
    dev, snaps = Device(d), []
    try: b = recover(dev, (lambda dv: snaps.append([dict(s) for s in dv.survivors()])) if depth == 0 else (lambda dv: None))
    except Refused: stat['refused'] += 1; return
    if b is None: stat['damaged'] += 1; return
    for i in range(N):
        x = dev.read(('s', i)); v = D(i, x) if i < b else x
        if v not in [acked['dur'].get(i, ('p', i))] + acked['flight'].get(i, []): stat['wrong'] += 1; break
    for ss in snaps:
        for s in ss: check(s, acked, stat, 1)


failed = False
ALL = ('as designed', 'zone not flushed', 'read ahead believed', 'no protect flush', 'no data flush', 'no commit flush', 'gate opened early', 'blocks with the record',
       'no second protection', 'no restore flush', 'no release')
for weak in sys.argv[1:] or ALL:
    stat = dict(cuts=0, wrong=0, damaged=0, refused=0)
    for way, fails in itertools.product(('enc', 'dec'), (False, True)):
        for mask in itertools.product((0, 1), repeat=BITS):
            Salts.n, b0, bits = 1, (0 if way == 'enc' else N), iter(mask)
            dev = Device({('s', i): (('p', i) if way == 'enc' else E(i, ('p', i))) for i in range(N)})
            dev.d[('rec', 0)] = dict(gen=1, b=b0, z=None, dig={}, way=way, salts=frozenset({1}))
            for k in REPLICAS: dev.d[('blk', k)] = (1, b0, way)
            acked = dict(n=0, dur={}, flight={})
            def hook(dev):
                for d in dev.survivors(): check(d, copy.deepcopy(acked), stat)
            convert(dev, way, b0, Journal(dev, dev.d[('rec', 0)], {1}), lambda: next(bits, 0), hook, acked, weak, fails)
    bad = stat['wrong'] + stat['damaged'] + stat['refused']
    failed |= (bad > 0) == (weak == 'as designed')
    print(f"{weak:24}", stat, flush=True)
sys.exit(failed)
