# Sourced by ./quickstart and ./check: the Debian packages each needs, and one way to install what is missing.

BUILD_PACKAGES="gcc libc6-dev cmake ninja-build pkg-config git
  libncurses-dev libreadline-dev libsqlite3-dev libpcre2-dev libutf8proc-dev libjansson-dev libxxhash-dev opencl-c-headers"

# Tests: cmocka, a terminal emulator (libvterm, tmux), python3 for the scripts that drive whole programs, clang-format for the
# style check, and PoCL, an OpenCL device on the CPU, for the kernels_cl room.
TEST_PACKAGES="libcmocka-dev libvterm-dev tmux python3 python3-numpy clang-format universal-ctags
  ocl-icd-libopencl1 pocl-opencl-icd"

# The tests of the kernels for 64-bit Arm, which ./check runs where these are; the last one needs
#   dpkg --add-architecture arm64 && apt-get update
ARM64_PACKAGES="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static libcmocka-dev:arm64"

# arm64_missing: says which programs and files of those are not here.
arm64_missing() {
    command -v aarch64-linux-gnu-gcc >/dev/null || echo aarch64-linux-gnu-gcc
    command -v qemu-aarch64-static >/dev/null || command -v qemu-aarch64 >/dev/null || echo qemu-aarch64
    [ -e /usr/lib/aarch64-linux-gnu/pkgconfig/cmocka.pc ] || echo cmocka
}

# install_missing PACKAGE...: says what is missing and installs just that; sudo only when not root.
install_missing() {
    missing=""
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "These Debian packages (or their like on your system) are needed and apt-get is not here:$missing" >&2
        return 1
    fi
    as_root=""
    if [ "$(id -u)" != 0 ]; then
        as_root="sudo"
        command -v sudo >/dev/null 2>&1 || {
            echo "Missing packages, and neither root nor sudo to install them:$missing" >&2
            echo "Ask an administrator to run: apt-get install$missing" >&2
            return 1
        }
    fi
    echo "Installing:$missing"
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 ||
        { $as_root apt-get update -q &&
            $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } || {
        echo "apt-get could not install:$missing (its words are above)" >&2
        return 1
    }
}
