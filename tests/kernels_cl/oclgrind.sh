#!/bin/sh
# Runs the small grid of the kernels' tests under Oclgrind, twice: looking for races and accesses outside of buffers, and for
# values that nobody has written. Ends with 1 when it finds one, or a test fails.
#   oclgrind.sh BUILD-DIRECTORY [PROGRAM [TEST]]
# Each test in a process of its own, and compiled without optimisation, because Oclgrind 21.10 has two bugs: it crashes at a
# shuffle with elements that are not used, and what it knows of memory does not end with the buffers of the test before.
build=${1:?usage: oclgrind.sh BUILD-DIRECTORY [PROGRAM [TEST]]}
icd=$(mktemp -d) && trap 'rm -rf "$icd"' EXIT
echo "${OCLGRIND_RUNTIME:-/usr/lib/oclgrind/liboclgrind-rt-icd.so}" >"$icd/oclgrind.icd"
unset FERRUM_CL_CACHE
export OCL_ICD_VENDORS="$icd" OCLGRIND_BUILD_OPTIONS=-cl-opt-disable
failed=0
for program in ${2:-test_cl_rows test_cl_products}; do
    here=$(dirname "$0")
    for name in ${3:-$(sed -n 's/.*cmocka_unit_test(\(.*\)),.*/\1/p' "$here/$program.c" | grep -v "^kernels__")}; do
        for mode in OCLGRIND_DATA_RACES OCLGRIND_UNINITIALIZED; do
            env $mode=1 "$build/tests/kernels_cl/$program" small "$name" >"$icd/out" 2>&1 &&
                ! grep -qE 'Kernel: |OCLGRIND' "$icd/out" && ! grep -q skipped "$icd/out" && word=clean || word=FOUND
            echo "$word $mode $name"
            if [ $word = FOUND ]; then
                failed=1
                head -20 "$icd/out"
            fi
        done
    done
done
exit $failed
