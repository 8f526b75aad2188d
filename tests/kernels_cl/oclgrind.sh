#!/bin/sh
# Runs the small grid of the kernels' tests under Oclgrind, which looks for races, for accesses outside of buffers and for values
# that nobody has written. The grid launches every kernel of every program in both styles (its last test says so). Ends with 1 when
# something is found, or a test fails.
#   oclgrind.sh BUILD-DIRECTORY [PROGRAM [TEST]]
# Compiled without optimisation, because Oclgrind 21.10 crashes at a shuffle with elements that are not used. What else it has to
# be told otherwise is in cl_watch.c.
build=${1:?usage: oclgrind.sh BUILD-DIRECTORY [PROGRAM [TEST]]}
icd=$(mktemp -d) && trap 'rm -rf "$icd"' EXIT
echo "${OCLGRIND_RUNTIME:-/usr/lib/oclgrind/liboclgrind-rt-icd.so}" >"$icd/oclgrind.icd"
unset FERRUM_CL_CACHE
export OCL_ICD_VENDORS="$icd" OCLGRIND_BUILD_OPTIONS=-cl-opt-disable OCLGRIND_NUM_THREADS=1
export OCLGRIND_DATA_RACES=1 OCLGRIND_UNINITIALIZED=1
failed=0
for program in ${2:-test_cl_rows test_cl_products}; do
    timeout 1800 "$build/tests/kernels_cl/$program" small ${3:+"$3"} >"$icd/out" 2>&1
    code=$?
    if [ $code = 0 ] && ! grep -qvE '^(\[.*)?$' "$icd/out"; then # a line that is not cmocka's
        grep ' OK ' "$icd/out"
        echo "clean: $program${3:+ $3}"
    else
        head -200 "$icd/out"
        echo "FOUND: $program${3:+ $3}, which ended with $code"
        failed=1
    fi
done
exit $failed
