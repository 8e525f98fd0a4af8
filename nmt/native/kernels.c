/* Steps of decoding on a CPU between the matrix products. nmt/native/library.py calls them, and
   torch's operations replace them where no compiler was found at installation.

   The bits of a row depend on that row alone: sums run in the order of the positions, and the
   parts of a vector are added in a fixed order. Arrays are contiguous, except for those whose rows
   have a stride.
   Axes: b sentences, q queries of a sentence, s source positions, a units of attention, e width of
   the values, n rows, d units. `threads` threads of OpenMP share the sentences or rows. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INTERFACE 4 /* raised with every change of a signature, as in library.py */
#define LANES 16
#define GROUP 5 /* queries that share a load of the values; a beam of 5 is common */
#define MAX_EXP_ARG 20.0f /* exp(2x) exp(2y) is finite and nonzero in float32 for |x|, |y| < 20 */

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
INLINE floats tangent(floats x) { return 1.0f - 2.0f / (1.0f + exponential(x + x)); }

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

int nmt_interface(void) { return INTERFACE; }

static size_t padded(size_t width) { return (width + LANES - 1) / LANES * LANES; }

/* Copies a row and fills it with zeros to whole vectors; returns its largest absolute value. */
INLINE float copy_row(float *to, const float *from, size_t width) {
    floats largest = all(0.0f);
    if (width) memcpy(to, from, width * sizeof(float));
    memset(to + width, 0, (padded(width) - width) * sizeof(float));
    for (size_t i = 0; i < width; i += LANES) largest = maximum(absolute(load(to + i)), largest);
    return largest_of(largest);
}

INLINE void exponentials(float *row, size_t width) {
    for (size_t i = 0; i < width; i += LANES) store(row + i, exponential(load(row + i) * 2.0f));
}

/* energies[b, q, s] = sum over a of v[a] tanh(query[b, q, a] + keys[b, s, a]).

   tanh(x + y) = 1 - 2 / (1 + exp(2x) exp(2y)) needs an exponential per unit of a query and of a key
   in place of one per pair. Where these would leave the range of float32, pairs are computed
   directly. */
VERSIONS
static void tanh_energies_of(const float *query, const float *keys, const float *v, float *energies,
                             size_t queries, size_t positions, size_t width, size_t query_stride,
                             size_t key_stride, float *buffer) {
    size_t wide = padded(width);
    float *weights = buffer, *key = weights + wide, *exp_key = key + wide;
    float *direct = exp_key + wide, *exp_queries = direct + wide;
    float *largest = exp_queries + queries * wide, total = 0;
    copy_row(weights, v, width);
    for (size_t i = 0; i < width; i++) total += v[i];
    for (size_t q = 0; q < queries; q++) {
        float *row = exp_queries + q * wide;
        largest[q] = copy_row(row, query + q * query_stride, width);
        exponentials(row, width);
    }
    for (size_t s = 0; s < positions; s++) {
        float largest_key = copy_row(key, keys + s * key_stride, width);
        for (size_t i = 0; i < wide; i += LANES) store(exp_key + i, load(key + i));
        exponentials(exp_key, width);
        for (size_t q = 0; q < queries; q++) {
            const float *row = exp_queries + q * wide;
            floats sum = all(0.0f);
            if (largest_key < MAX_EXP_ARG && largest[q] < MAX_EXP_ARG) {
                for (size_t i = 0; i < wide; i += LANES)
                    sum += load(weights + i) / (1.0f + load(row + i) * load(exp_key + i));
            } else {
                copy_row(direct, query + q * query_stride, width);
                for (size_t i = 0; i < wide; i += LANES)
                    sum += load(weights + i) /
                           (1.0f + exponential(2.0f * (load(direct + i) + load(key + i))));
            }
            energies[q * positions + s] = total - 2.0f * sum_of(sum);
        }
    }
}

void nmt_tanh_energies(const float *query, const float *keys, const float *v, float *energies,
                       size_t sentences, size_t queries, size_t positions, size_t width,
                       size_t query_stride, size_t key_stride, int threads) {
    size_t numbers = (queries + 4) * padded(width) + queries;
#pragma omp parallel num_threads(threads)
    {
        float *buffer = malloc(numbers * sizeof(float));
#pragma omp for schedule(static)
        for (size_t b = 0; b < sentences; b++)
            tanh_energies_of(query + b * queries * query_stride, keys + b * positions * key_stride, v,
                             energies + b * queries * positions, queries, positions, width,
                             query_stride, key_stride, buffer);
        free(buffer);
    }
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

/* weights[b, q, s]: softmax of energies[b, q, s] over the positions with mask[b, s]. */
VERSIONS
static void softmax_of(const float *energies, const uint8_t *mask, float *weights, size_t queries,
                       size_t positions) {
    for (size_t q = 0; q < queries; q++)
        softmax_row(energies + q * positions, mask, weights + q * positions, positions);
}

void nmt_masked_softmax(const float *energies, const uint8_t *mask, float *weights,
                        size_t sentences, size_t queries, size_t positions, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t b = 0; b < sentences; b++) {
        size_t first = b * queries * positions;
        softmax_of(energies + first, mask + b * positions, weights + first, queries, positions);
    }
}

/* context[b, q, e] = sum over s of weights[b, q, s] values[b, s, e]. */
VERSIONS
static void context_of(const float *weights, const float *values, float *context, size_t queries,
                       size_t positions, size_t width, size_t stride) {
    for (size_t q = 0; q < queries; q += GROUP) {
        size_t count = queries - q < GROUP ? queries - q : GROUP, e = 0;
        const float *rows[GROUP];
        for (size_t k = 0; k < GROUP; k++) rows[k] = weights + (q + (k < count ? k : 0)) * positions;
        for (; e + 2 * LANES <= width; e += 2 * LANES) {
            floats sums[GROUP][2];
            for (size_t k = 0; k < GROUP; k++) sums[k][0] = sums[k][1] = all(0.0f);
            for (size_t s = 0; s < positions; s++) {
                floats left = load(values + s * stride + e);
                floats right = load(values + s * stride + e + LANES);
                for (size_t k = 0; k < GROUP; k++) {
                    sums[k][0] += rows[k][s] * left;
                    sums[k][1] += rows[k][s] * right;
                }
            }
            for (size_t k = 0; k < count; k++) {
                store(context + (q + k) * width + e, sums[k][0]);
                store(context + (q + k) * width + e + LANES, sums[k][1]);
            }
        }
        for (; e < width; e += LANES)
            for (size_t k = 0; k < count; k++) {
                floats sum = all(0.0f);
                for (size_t s = 0; s < positions; s++)
                    sum += rows[k][s] * load_part(values + s * stride + e, width - e);
                store_part(context + (q + k) * width + e, sum, width - e);
            }
    }
}

void nmt_context(const float *weights, const float *values, float *context, size_t sentences,
                 size_t queries, size_t positions, size_t width, size_t stride, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t b = 0; b < sentences; b++)
        context_of(weights + b * queries * positions, values + b * positions * stride,
                   context + b * queries * width, queries, positions, width, stride);
}

/* energies[b, q, s] = query[b, q] · keys[b, s]. */
VERSIONS
static void dot_energies_of(const float *query, const float *keys, float *energies, size_t queries,
                            size_t positions, size_t width, size_t query_stride, size_t key_stride) {
    for (size_t q = 0; q < queries; q++)
        for (size_t s = 0; s < positions; s++)
            energies[q * positions + s] = dot(query + q * query_stride, keys + s * key_stride, width);
}

void nmt_dot_energies(const float *query, const float *keys, float *energies, size_t sentences,
                      size_t queries, size_t positions, size_t width, size_t query_stride,
                      size_t key_stride, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t b = 0; b < sentences; b++)
        dot_energies_of(query + b * queries * query_stride, keys + b * positions * key_stride,
                        energies + b * queries * positions, queries, positions, width, query_stride,
                        key_stride);
}

/* One head of a sentence: weights[q, s] = softmax(scale query[q] · keys[s]), context[q, e]. */
VERSIONS
static void attend_with_head(const float *query, const float *keys, const float *values,
                             const uint8_t *mask, float *weights, float *context, size_t queries,
                             size_t positions, size_t width, size_t query_stride, size_t key_stride,
                             size_t value_stride, size_t context_stride, float scale) {
    for (size_t q = 0; q < queries; q++, weights += positions, context += context_stride) {
        const float *own = query + q * query_stride;
        for (size_t s = 0; s < positions; s++) weights[s] = scale * dot(own, keys + s * key_stride, width);
        softmax_row(weights, mask, weights, positions);
        for (size_t e = 0; e < width; e += LANES) {
            floats sum = all(0.0f);
            for (size_t s = 0; s < positions; s++)
                sum += weights[s] * load_part(values + s * value_stride + e, width - e);
            store_part(context + e, sum, width - e);
        }
    }
}

/* Attention of every head; context[b, q, h, e] joins the heads of a query. `strides` are those of
   the axes b, h and q of the queries, and of b, h and s of the keys and of the values. */
void nmt_multi_head_attention(const float *query, const float *keys, const float *values,
                              const uint8_t *mask, float *weights, float *context,
                              const size_t *strides, size_t sentences, size_t heads, size_t queries,
                              size_t positions, size_t width, float scale, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t item = 0; item < sentences * heads; item++) {
        size_t b = item / heads, h = item % heads;
        attend_with_head(query + b * strides[0] + h * strides[1],
                         keys + b * strides[3] + h * strides[4],
                         values + b * strides[6] + h * strides[7],
                         mask ? mask + b * positions : NULL, weights + item * queries * positions,
                         context + (b * queries * heads + h) * width, queries, positions, width,
                         strides[2], strides[5], strides[8], heads * width, scale);
    }
}

/* to[v] = x[v] - log of the sum of all exp(x). Elements of -inf at the end change no bit. */
VERSIONS
static void log_softmax_row(const float *x, float *to, size_t width) {
    floats largest = all(-INFINITY), sum = all(0.0f);
    size_t whole = width / LANES * LANES, rest = width - whole;
    floats last = all(-INFINITY);
    memcpy(&last, x + whole, rest * sizeof(float));
    for (size_t i = 0; i < whole; i += LANES) largest = maximum(load(x + i), largest);
    float shift = largest_of(maximum(last, largest));
    for (size_t i = 0; i < whole; i += LANES) sum += exponential(load(x + i) - shift);
    sum += exponential(last - shift);
    float log_sum = (float)log(sum_of(sum));
    for (size_t i = 0; i < width; i += LANES)
        store_part(to + i, load_part(x + i, width - i) - shift - log_sum, width - i);
}

void nmt_log_softmax(const float *x, float *to, size_t rows, size_t width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t n = 0; n < rows; n++) log_softmax_row(x + n * width, to + n * width, width);
}

/* Whether value comes before other in descending order, in which NaN is first. */
INLINE int precedes(float value, float other) { return value > other || (value != value && other == other); }

/* The `count` largest sums before[k] + rows[k, v] of a sentence in descending order, those that are
   equal in order of their positions k v. `sums` and `found` have `count` places. */
VERSIONS
static void largest_sums_of(const float *before, const float *rows, float *sums, int64_t *found,
                            size_t hypotheses, size_t width, size_t count) {
    size_t filled = 0;
    if (!count) return;
    for (size_t k = 0; k < hypotheses; k++, rows += width)
        for (size_t i = 0; i < width; i += LANES) {
            floats part = load_part(rows + i, width - i) + before[k];
            if (filled == count) {
                /* Nearly always no lane exceeds the least of the sums; the comparison is true for NaN. */
                if (!is_any(~(part <= all(sums[count - 1])))) continue;
            }
            for (size_t lane = 0; lane < LANES && i + lane < width; lane++) {
                float value = part[lane];
                if (filled == count && !precedes(value, sums[count - 1])) continue;
                size_t place = filled < count ? filled++ : count - 1;
                for (; place && precedes(value, sums[place - 1]); place--) {
                    sums[place] = sums[place - 1];
                    found[place] = found[place - 1];
                }
                sums[place] = value;
                found[place] = (int64_t)(k * width + i + lane);
            }
        }
}

void nmt_largest_sums(const float *before, const float *rows, float *sums, int64_t *found,
                      size_t sentences, size_t hypotheses, size_t width, size_t count, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t b = 0; b < sentences; b++)
        largest_sums_of(before + b * hypotheses, rows + b * hypotheses * width, sums + b * count,
                        found + b * count, hypotheses, width, count);
}

/* integers[n, d] = round(x[n, d] / scale[n]) + 128, bytes, with scale[n] = max(|x|, smallest) / 127. */
VERSIONS
static void quantize_row(const float *x, uint8_t *integers, float *scale, size_t width,
                         float smallest) {
    floats largest = all(smallest);
    ints is_nan = {0};
    for (size_t i = 0; i < width; i += LANES) {
        floats part = load_part(x + i, width - i);
        is_nan |= part != part;
        largest = maximum(absolute(part), largest);
    }
    *scale = is_any(is_nan) ? NAN : largest_of(largest) / 127.0f; /* NaN in x remains NaN */
    const floats rounding = all(12582912.0f);
    for (size_t i = 0; i < width; i += LANES) {
        size_t count = width - i;
        ints rounded = (ints)(load_part(x + i, count) / *scale + rounding) - (ints)rounding + 128;
        bytes narrow = __builtin_convertvector(rounded, bytes);
        memcpy(integers + i, &narrow, count < LANES ? count : LANES);
    }
}

void nmt_quantize_rows(const float *x, uint8_t *integers, float *scale, size_t rows, size_t width,
                       float smallest, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t n = 0; n < rows; n++)
        quantize_row(x + n * width, integers + n * width, scale + n, width, smallest);
}

/* LSTM with the gates i, f, g, o of n rows: cell = f c + i g, hidden = o tanh(cell). */
VERSIONS
static void lstm_row(const float *gates, const float *cell, float *hidden, float *new_cell,
                     size_t width) {
    for (size_t i = 0; i < width; i += LANES) {
        size_t count = width - i;
        floats input = sigmoid(load_part(gates + i, count));
        floats forget = sigmoid(load_part(gates + width + i, count));
        floats value = tangent(load_part(gates + 2 * width + i, count));
        floats output = sigmoid(load_part(gates + 3 * width + i, count));
        floats next = forget * load_part(cell + i, count) + input * value;
        store_part(new_cell + i, next, count);
        store_part(hidden + i, output * tangent(next), count);
    }
}

void nmt_lstm_cell(const float *gates, const float *cell, float *hidden, float *new_cell,
                   size_t rows, size_t width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t n = 0; n < rows; n++)
        lstm_row(gates + 4 * n * width, cell + n * width, hidden + n * width, new_cell + n * width,
                 width);
}
