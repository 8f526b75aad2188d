# Cross-building for 64-bit Arm, and running the result here: Debian's cross compiler and qemu-user. Libraries are those of
# Debian's arm64 (dpkg --add-architecture arm64), whose loader qemu finds where it finds all of them. QEMU_CPU in the
# environment of a test run chooses the machine: cortex-a53 has NEON alone, max the dot product of bytes too. Libraries of
# another place: PKG_CONFIG_LIBDIR in the environment.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
find_program(FERRUM_QEMU NAMES qemu-aarch64-static qemu-aarch64 REQUIRED)
set(CMAKE_CROSSCOMPILING_EMULATOR ${FERRUM_QEMU})
if(NOT DEFINED ENV{PKG_CONFIG_LIBDIR})
  set(ENV{PKG_CONFIG_LIBDIR} "/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig")
endif()
