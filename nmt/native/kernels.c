/* Steps of decoding on a CPU between the matrix products. nmt/native/library.py calls them, and
   torch's operations replace them where no compiler was found at installation.

   The bits of a row depend on that row alone: sums run in the order of the positions, and the
   parts of a vector are added in a fixed order. Arrays are contiguous, except for those whose rows
   have a stride.
   Axes: b sentences, q queries of a sentence, s source positions, a units of attention, e width of
   the values, n rows, d units. `threads` threads of OpenMP share the sentences or rows. */

#include "vectors.h"

#define INTERFACE 5 /* raised with every change of a signature, as in library.py */
#define GROUP 5 /* queries that share a load of the values; a beam of 5 is common */
#define MAX_EXP_ARG 20.0f /* exp(2x) exp(2y) is finite and nonzero in float32 for |x|, |y| < 20 */

int nmt_interface(void) { return INTERFACE; }

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
