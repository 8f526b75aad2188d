#!/usr/bin/env python3
"""Checks what a compiler does not: the arrows between rooms, foreign headers, unique names, sizes, format.

The rooms and their doors are those of ARCHITECTURE.md; a wrong arrow is named with file and line.
"""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# room -> prefixes of our own headers it may include
SEAM = ('engine/backend.h', 'engine/tensor.h', 'engine/quant_blocks.h', 'engine/half.h')
DOORS = {
    'engine/base': ('engine/base/',),
    'engine': ('engine/',),
    'kernels_cpu': ('kernels_cpu/', 'engine/base/') + SEAM,
    'kernels_cl': ('kernels_cl/', 'engine/base/') + SEAM,
    'store': ('store/', 'engine/base/'),
    'ui': ('ui/', 'engine/base/'),
    'app': ('app/', 'ui/', 'store/', 'engine/', 'kernels_cpu/backend_cpu.h', 'kernels_cl/backend_cl.h'),
}
# foreign header -> rooms that own it
FOREIGN = {
    r'(n?curses(w/)?.*|term)\.h': ('ui',),
    r'readline/.*': ('ui',),
    r'utf8proc\.h': ('ui',),
    r'sqlite3\.h': ('store',),
    r'pcre2\.h': ('engine',),
    r'CL/.*': ('kernels_cl',),
    r'jansson\.h': ('app', 'ui'),
    r'xxhash\.h': ('app', 'engine/base', 'kernels_cl', 'store'),
    r'(imm|xmm|emm|avx.*)intrin\.h|arm_neon\.h': ('kernels_cpu',),
    r'pthread\.h': ('engine/base', 'engine', 'store', 'kernels_cpu'),
}
MAX_LINES, MAX_FUNCTION_LINES = 800, 100


def room_of(path):
    if path.startswith('engine/base/'):
        return 'engine/base'
    return path.split('/')[0]


def sources():
    out = subprocess.run(['git', '-C', ROOT, 'ls-files', '--cached', '--others', '--exclude-standard', '*.c', '*.h'],
                         check=True, capture_output=True, text=True).stdout
    return sorted(p for p in out.split('\n') if p and os.path.exists(os.path.join(ROOT, p)))


def check_includes(path, text):
    room = room_of(path)
    for n, line in enumerate(text.split('\n'), 1):
        own = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if own and room in DOORS and not own.group(1).startswith(DOORS[room]):
            yield f'{path}:{n}: {room} may not include "{own.group(1)}" (its doors: {", ".join(DOORS[room])})'
        foreign = re.match(r'\s*#\s*include\s+<([^>]+)>', line)
        if foreign and room in DOORS:
            for pattern, owners in FOREIGN.items():
                if re.fullmatch(pattern, foreign.group(1)) and room not in owners:
                    yield f'{path}:{n}: <{foreign.group(1)}> belongs to {", ".join(owners)}, not to {room}'
        if 'getenv(' in line and room in DOORS and room != 'app':
            yield f'{path}:{n}: getenv is for app alone'


def check_sizes(path, text):
    lines = text.count('\n')
    if lines > MAX_LINES:
        yield f'{path}: {lines} lines; at most {MAX_LINES}'


def check_functions(paths):
    if not shutil.which('ctags'):
        return
    out = subprocess.run(['ctags', '--languages=C', '--kinds-C=f', '--fields=+ne', '-f', '-', *paths],
                         cwd=ROOT, capture_output=True, text=True).stdout
    for row in out.split('\n'):
        m = re.match(r'(\S+)\t(\S+)\t.*\tline:(\d+).*\tend:(\d+)', row)
        if m and int(m.group(4)) - int(m.group(3)) > MAX_FUNCTION_LINES:
            length = int(m.group(4)) - int(m.group(3)) + 1
            yield f'{m.group(2)}:{m.group(3)}: {m.group(1)} has {length} lines; at most {MAX_FUNCTION_LINES}'


def check_names(paths):
    seen = {}
    for path in paths:
        name = os.path.basename(path)
        if name in seen:
            yield f'{path}: the name is taken by {seen[name]}; file names are unique in the tree'
        seen[name] = path


def check_format(paths):
    tool = shutil.which('clang-format')
    if not tool:
        print('clang-format is not installed: format not checked')
        return
    run = subprocess.run([tool, '--dry-run', '-Werror', *paths], cwd=ROOT, capture_output=True, text=True)
    bad = sorted({m.group(1) for m in re.finditer(r'^(\S+?):\d+:\d+: error', run.stderr, re.M)})
    for path in bad:
        yield f'{path}: not formatted; run clang-format -i {path}'


def main():
    paths = sources()
    complaints = []
    for path in paths:
        with open(os.path.join(ROOT, path), encoding='utf-8') as f:
            text = f.read()
        complaints += [*check_includes(path, text), *check_sizes(path, text)]
    complaints += [*check_names(paths), *check_functions(paths), *check_format(paths)]
    for line in complaints:
        print(line)
    print(f'{len(paths)} files looked at, {len(complaints)} complaints')
    sys.exit(1 if complaints else 0)


if __name__ == '__main__':
    main()
