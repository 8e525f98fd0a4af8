/* Vectors of floats for the kernels: loads, functions and sums. */

#ifndef NMT_VECTORS_H
#define NMT_VECTORS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 16

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef float unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint8_t bytes __attribute__((vector_size(LANES), aligned(1), may_alias));

/* One version of a function per generation of x86 CPUs; the loader chooses. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VERSIONS __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define VERSIONS
#endif
#define INLINE static inline __attribute__((always_inline))

INLINE floats load(const float *from) { return *(const unaligned *)from; }
INLINE void store(float *to, floats value) { *(unaligned *)to = value; }
INLINE floats all(float value) { return (floats){0} + value; }

INLINE floats load_part(const float *from, size_t count) {
    if (count >= LANES) return load(from);
    floats part = all(0.0f);
    memcpy(&part, from, count * sizeof(float));
    return part;
}

INLINE void store_part(float *to, floats value, size_t count) {
    if (count >= LANES) store(to, value);
    else memcpy(to, &value, count * sizeof(float));
}

INLINE floats select_floats(ints mask, floats yes, floats no) {
    return (floats)((mask & (ints)yes) | (~mask & (ints)no));
}

/* exp(x) with an error of about one unit in the last place; 0 below -87, and no larger than exp(88).
   It keeps NaN. */
INLINE floats exponential(floats x) {
    const floats rounding = all(12582912.0f); /* 1.5 2^23: a sum with it is rounded to an integer */
    const ints is_small = x < all(-87.0f);
    x = select_floats(is_small, all(-87.0f), x);
    x = select_floats(x > all(88.0f), all(88.0f), x);
    floats shifted = x * 1.44269504f + rounding;
    ints power = (ints)shifted - (ints)rounding;
    floats whole = shifted - rounding;
    floats rest = x - whole * 0.693359375f + whole * 2.12194440e-4f; /* ln 2 in two parts */
    floats sum = all(1.0f / 5040) * rest + 1.0f / 720;
    sum = sum * rest + 1.0f / 120;
    sum = sum * rest + 1.0f / 24;
    sum = sum * rest + 1.0f / 6;
    sum = sum * rest + 0.5f;
    sum = sum * rest + 1.0f;
    sum = sum * rest + 1.0f;
    return select_floats(is_small, all(0.0f), sum * (floats)((power + 127) << 23));
}

INLINE floats sigmoid(floats x) { return 1.0f / (1.0f + exponential(-x)); }
INLINE floats tanh_of(floats x) { return 1.0f - 2.0f / (1.0f + exponential(x + x)); }

/* The lanes are added by halves: lane i and lane i + 8, then i + 4, and so on. */
INLINE float sum_of(floats value) {
    float part[LANES];
    memcpy(part, &value, sizeof part);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}

INLINE float largest_of(floats value) {
    float largest = value[0];
    for (int i = 1; i < LANES; i++) largest = value[i] > largest ? value[i] : largest;
    return largest;
}

INLINE float dot(const float *left, const float *right, size_t width) {
    floats sum = all(0.0f);
    for (size_t i = 0; i < width; i += LANES)
        sum += load_part(left + i, width - i) * load_part(right + i, width - i);
    return sum_of(sum);
}

INLINE int is_any(ints mask) {
    bytes flags = __builtin_convertvector(mask, bytes);
    uint64_t halves[2];
    memcpy(halves, &flags, sizeof halves);
    return (halves[0] | halves[1]) != 0;
}

INLINE floats absolute(floats x) { return (floats)((ints)x & 0x7fffffff); }
INLINE floats maximum(floats x, floats y) { return select_floats(x > y, x, y); }

INLINE size_t padded(size_t width) { return (width + LANES - 1) / LANES * LANES; }

/* Copies a row and fills it with zeros to whole vectors; returns its largest absolute value. */
INLINE float copy_row(float *to, const float *from, size_t width) {
    floats largest = all(0.0f);
    if (width) memcpy(to, from, width * sizeof(float));
    memset(to + width, 0, (padded(width) - width) * sizeof(float));
    for (size_t i = 0; i < width; i += LANES) largest = maximum(absolute(load(to + i)), largest);
    return largest_of(largest);
}

/* Softmax over the positions whose mask is not 0; without a mask, over all. The arrays may be one. */
INLINE void softmax_row(const float *energies, const uint8_t *mask, float *weights, size_t positions) {
    float largest = -INFINITY;
    for (size_t s = 0; s < positions; s++)
        if ((!mask || mask[s]) && energies[s] > largest) largest = energies[s];
    for (size_t s = 0; s < positions; s += LANES) {
        size_t count = positions - s;
        store_part(weights + s, exponential(load_part(energies + s, count) - largest), count);
    }
    double sum = 0;
    for (size_t s = 0; s < positions; s++) {
        if (mask && !mask[s]) weights[s] = 0.0f;
        sum += weights[s];
    }
    float scale = (float)(1.0 / sum);
    for (size_t s = 0; s < positions; s++) weights[s] *= scale;
}

#endif
