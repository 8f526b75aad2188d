#!/bin/sh
# Runs the small grid of the kernels' tests under Oclgrind, twice: looking for races and accesses outside of buffers, and for
# values that nobody has written. Ends with 1 when it finds one, or a test fails.
#   oclgrind.sh BUILD-DIRECTORY [PROGRAM [TEST]]
# Each test (of attention each shape) in a process of its own, and compiled without optimisation, because Oclgrind 21.10
# crashes at a shuffle with elements that are not used, and after some programs reports values that it does not report when
# the same shape has a process to itself (why was not found).
build=${1:?usage: oclgrind.sh BUILD-DIRECTORY [PROGRAM [TEST]]}
here=$(dirname "$0")
icd=$(mktemp -d) && trap 'rm -rf "$icd"' EXIT
echo "${OCLGRIND_RUNTIME:-/usr/lib/oclgrind/liboclgrind-rt-icd.so}" >"$icd/oclgrind.icd"
unset FERRUM_CL_CACHE
export OCL_ICD_VENDORS="$icd" OCLGRIND_BUILD_OPTIONS=-cl-opt-disable
failed=0

look() { # MODE PROGRAM TEST [SHAPE]
    mode=$1 program=$2
    shift 2
    if env "$mode=1" timeout 300 "$build/tests/kernels_cl/$program" small "$@" >"$icd/out" 2>&1 &&
        ! grep -qE 'Kernel: |OCLGRIND|skipped' "$icd/out"; then
        echo "clean $mode $*"
    else
        echo "FOUND $mode $*"
        head -20 "$icd/out"
        failed=1
    fi
}

for program in ${2:-test_cl_rows test_cl_products}; do
    for name in ${3:-$(sed -n 's/.*cmocka_unit_test(\(.*\)),.*/\1/p' "$here/$program.c" | grep -v '^kernels__')}; do
        case $name in
        attention__any_shape*) shapes=$(seq 0 47) ;;
        attention__long*) shapes='0 1 2' ;;
        *) shapes= ;;
        esac
        for mode in OCLGRIND_DATA_RACES OCLGRIND_UNINITIALIZED; do
            if [ -z "$shapes" ]; then
                look $mode "$program" "$name"
            fi
            for shape in $shapes; do
                look $mode "$program" "$name" "$shape"
            done
        done
    done
done
exit $failed
