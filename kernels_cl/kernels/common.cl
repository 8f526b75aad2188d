/* common.cl: in front of every program. OpenCL C 1.2, no extension needed; half is storage only.
 *
 * Two styles. GPU_STYLE: LANES work-items of a group share a row and meet in local memory. CPU style: LANES is 1, a
 * work-item walks whole rows with 16-wide vectors. Which one a program is built in is the host's choice (program.c).
 *
 * No contraction: a sum has the same bits in every kernel that computes it. MAD is one rounding where the device says it
 * has a fused multiply-add (HAS_FMA), else two. Infinities and NaN mean what they say: no -cl-fast-relaxed-math. */
#pragma OPENCL FP_CONTRACT OFF

#ifdef GPU_STYLE
#define LANES ((uint)GPU_LANES)
#define LANE ((uint)get_local_id(0))
#define MEET() barrier(CLK_LOCAL_MEM_FENCE)
#else
#define LANES 1u
#define LANE 0u
#define MEET()
#endif

/* The size of a group is known when it is compiled. */
#define KERNEL kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void

#ifdef HAS_FMA
#define MAD(a, b, c) fma((a), (b), (c))
#else
#define MAD(a, b, c) ((a) * (b) + (c))
#endif

/* What is small is inlined everywhere: a vector handed over through memory costs more than the work on it. Static,
 * because a C99 inline function that is not inlined is not there at all. */
#ifdef __clang__
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("unroll")
#else
#define INLINE static inline
#define UNROLL
#endif

/* CPUs fetch ahead within a page of memory; weights are read for many pages. `prefetch` does nothing in PoCL. */
#if defined(__clang__) && (defined(__x86_64__) || defined(__aarch64__))
#define AHEAD 4096
#define SOON(p) __builtin_prefetch((p) + AHEAD)
#define LATER(p) __builtin_prefetch((p), 0, 2) /* into a cache with more room than the first */
#else
#define SOON(p)
#define LATER(p)
#endif

/* v.hi, written out: Oclgrind takes element 11 of a vector in a shuffle for one that is not used. */
#define UPPER_HALF(type, v) ((type)(v.s8, v.s9, v.sa, v.sb, v.sc, v.sd, v.se, v.sf))

INLINE float sum16(float16 v)
{
    float8 a = v.lo + UPPER_HALF(float8, v);
    float4 b = a.lo + (float4)(a.s4, a.s5, a.s6, a.s7);
    float2 c = b.lo + (float2)(b.z, b.w);
    return c.x + c.y;
}

/* What f16 bits mean, of two in each word: the low ones of both words, then the high ones. Written out, because what some
 * drivers make of vload_half for one number is slower than a product of 32 weights. */
#if defined(__clang__) && defined(__F16C__)
typedef short plain_short8 __attribute__((__vector_size__(16)));
INLINE float4 halves(uint2 bits)
{
    ushort4 each = as_ushort4(bits);
    uint4 all = (uint4)(as_uint2((ushort4)(each.x, each.z, each.y, each.w)), 0, 0);
    return __builtin_astype(__builtin_ia32_vcvtph2ps(__builtin_astype(all, plain_short8)), float4);
}
INLINE float half_at(const global uchar *p)
{
    uint4 bits = (uint4)(*(const global ushort *)p, 0, 0, 0);
    return __builtin_astype(__builtin_ia32_vcvtph2ps(__builtin_astype(bits, plain_short8)), float4).x;
}
#else
INLINE float4 halves(uint2 both)
{
    uint2 low = both & 0xffff, high = both >> 16; /* numbers one by one, for Oclgrind */
    uint4 bits = (uint4)(low.x, low.y, high.x, high.y), magnitude = bits & 0x7fff;
    float4 value = as_float4(magnitude << 13) * 0x1p112f; /* subnormal ones too */
    value = select(value, as_float4(0x7f800000 | magnitude << 13), magnitude >= 0x7c00);
    return as_float4(as_uint4(value) | (bits & 0x8000) << 16);
}

INLINE float half_at(const global uchar *p)
{
    uint bits = *(const global ushort *)p, magnitude = bits & 0x7fff;
    float value = as_float(magnitude << 13) * 0x1p112f;
    value = magnitude < 0x7c00 ? value : as_float(0x7f800000 | magnitude << 13);
    return as_float(as_uint(value) | (bits & 0x8000) << 16);
}
#endif

/* The sum over the lanes of a group; every lane gets it. spare [LANES] may be used again afterwards. */
INLINE float lanes_sum(float v, local float *spare)
{
#ifdef GPU_STYLE
    spare[LANE] = v;
    MEET();
    for (uint n = LANES / 2; n > 0; n /= 2) {
        if (LANE < n)
            spare[LANE] += spare[LANE + n];
        MEET();
    }
    v = spare[0];
    MEET();
#endif
    return v;
}

INLINE float lanes_max(float v, local float *spare)
{
#ifdef GPU_STYLE
    spare[LANE] = v;
    MEET();
    for (uint n = LANES / 2; n > 0; n /= 2) {
        if (LANE < n)
            spare[LANE] = fmax(spare[LANE], spare[LANE + n]);
        MEET();
    }
    v = spare[0];
    MEET();
#endif
    return v;
}
