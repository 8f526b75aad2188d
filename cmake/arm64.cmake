# Cross-building for 64-bit Arm, and running the result here: Debian's cross compiler and qemu-user. Libraries are those of
# Debian's arm64 (dpkg --add-architecture arm64), whose loader qemu finds where it finds all of them. QEMU_CPU in the
# environment of a test run chooses the machine: cortex-a53 has NEON alone, max the dot product of bytes too.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static)
set(ENV{PKG_CONFIG_LIBDIR} "/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig")
