/* Steps of training on a CPU between the matrix products, forward and backward, and LSTM cells for
   decoding. Callers are nmt/native/library.py and nmt/model/recurrence/native_ops.py.

   Arrays of type void hold float32, or bfloat16 if `narrow`; sums are in float32. d_x is the
   gradient of the loss with respect to x. Axes and bits are as in kernels.c; with several heads of
   attention, row n is a head of a sentence. */

#include "vectors.h"

typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));

INLINE const void *row_of(const void *rows, size_t offset, int narrow) {
    return (const char *)rows + offset * (narrow ? 2 : 4);
}

INLINE floats read_part(const void *row, size_t i, size_t count, int narrow) {
    if (!narrow) return load_part((const float *)row + i, count);
    const uint16_t *from = (const uint16_t *)row + i;
    halves part = {0};
    if (count >= LANES) part = *(const halves *)from;
    else memcpy(&part, from, 2 * count);
    return (floats)(__builtin_convertvector(part, words) << 16);
}

/* Rounds to the nearest bfloat16, ties to even; NaN remains NaN. */
INLINE void write_part(void *row, size_t i, floats value, size_t count, int narrow) {
    if (!narrow) {
        store_part((float *)row + i, value, count);
        return;
    }
    words bits = (words)value, is_nan = (words)(value != value);
    words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) | (is_nan & 0x7fc00000);
    halves part = __builtin_convertvector(rounded >> 16, halves);
    if (count >= LANES) *(halves *)((uint16_t *)row + i) = part;
    else memcpy((uint16_t *)row + i, &part, 2 * count);
}

/* c = f c' + i g and h = o tanh(c). With `keeps`, activations of the gates replace their sums. */
VERSIONS
static void lstm_row(void *gates, const float *previous, float *cell, void *hidden, size_t width,
                     int keeps, int narrow) {
    for (size_t i = 0; i < width; i += LANES) {
        size_t count = width - i;
        floats input = sigmoid(read_part(gates, i, count, narrow));
        floats forget = sigmoid(read_part(gates, width + i, count, narrow));
        floats value = tanh_of(read_part(gates, 2 * width + i, count, narrow));
        floats output = sigmoid(read_part(gates, 3 * width + i, count, narrow));
        floats next = forget * load_part(previous + i, count) + input * value;
        store_part(cell + i, next, count);
        write_part(hidden, i, output * tanh_of(next), count, narrow);
        if (!keeps) continue;
        write_part(gates, i, input, count, narrow);
        write_part(gates, width + i, forget, count, narrow);
        write_part(gates, 2 * width + i, value, count, narrow);
        write_part(gates, 3 * width + i, output, count, narrow);
    }
}

/* Rows of `hidden` have a stride. */
void nmt_lstm(void *gates, const float *previous, float *cell, void *hidden, size_t rows,
              size_t width, size_t stride, int keeps, int narrow, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t n = 0; n < rows; n++)
        lstm_row((void *)row_of(gates, 4 * n * width, narrow), previous + n * width,
                 cell + n * width, (void *)row_of(hidden, n * stride, narrow), width, keeps, narrow);
}

/* d_cell is the gradient of c from the next step, and becomes that of c'. */
VERSIONS
static void lstm_backward_row(const void *gates, const float *previous, const float *cell,
                              const void *d_hidden, float *d_cell, void *d_gates, size_t width,
                              int narrow) {
    for (size_t i = 0; i < width; i += LANES) {
        size_t count = width - i;
        floats input = read_part(gates, i, count, narrow);
        floats forget = read_part(gates, width + i, count, narrow);
        floats value = read_part(gates, 2 * width + i, count, narrow);
        floats output = read_part(gates, 3 * width + i, count, narrow);
        floats d_h = read_part(d_hidden, i, count, narrow);
        floats tanh_c = tanh_of(load_part(cell + i, count));
        floats d_c = load_part(d_cell + i, count) + d_h * output * (1.0f - tanh_c * tanh_c);
        floats d_forget = d_c * load_part(previous + i, count) * forget * (1.0f - forget);
        write_part(d_gates, i, d_c * value * input * (1.0f - input), count, narrow);
        write_part(d_gates, width + i, d_forget, count, narrow);
        write_part(d_gates, 2 * width + i, d_c * input * (1.0f - value * value), count, narrow);
        write_part(d_gates, 3 * width + i, d_h * tanh_c * output * (1.0f - output), count, narrow);
        store_part(d_cell + i, d_c * forget, count);
    }
}

void nmt_lstm_backward(const void *gates, const float *previous, const float *cell,
                       const void *d_hidden, float *d_cell, void *d_gates, size_t rows,
                       size_t width, size_t stride, int narrow, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t n = 0; n < rows; n++)
        lstm_backward_row(row_of(gates, 4 * n * width, narrow), previous + n * width,
                          cell + n * width, row_of(d_hidden, n * stride, narrow),
                          d_cell + n * width, (void *)row_of(d_gates, 4 * n * width, narrow), width,
                          narrow);
}

/* Softmax of v · tanh(q + k[s]), or without v of q · k[s], and the context sum of weights[s] h[s]. */
VERSIONS
static void attend_row(const void *query, const void *keys, const void *values, const void *v,
                       const uint8_t *mask, float *weights, void *context, size_t positions,
                       size_t width, size_t value_width, int narrow) {
    for (size_t s = 0; s < positions; s++) {
        const void *key = row_of(keys, s * width, narrow);
        floats sum = all(0.0f);
        if (!mask[s]) continue;
        for (size_t i = 0; i < width; i += LANES) {
            size_t count = width - i;
            floats q = read_part(query, i, count, narrow), k = read_part(key, i, count, narrow);
            sum += v ? read_part(v, i, count, narrow) * tanh_of(q + k) : q * k;
        }
        weights[s] = sum_of(sum);
    }
    softmax_row(weights, mask, weights, positions);
    for (size_t e = 0; e < value_width; e += LANES) {
        floats sum = all(0.0f);
        for (size_t s = 0; s < positions; s++)
            sum += weights[s] * read_part(row_of(values, s * value_width, narrow), e,
                                          value_width - e, narrow);
        write_part(context, e, sum, value_width - e, narrow);
    }
}

/* `strides` are those of the rows of query, v and context. */
void nmt_attend(const void *query, const void *keys, const void *values, const void *v,
                const uint8_t *mask, float *weights, void *context, const size_t *strides,
                size_t rows, size_t positions, size_t width, size_t value_width, int narrow,
                int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t n = 0; n < rows; n++)
        attend_row(row_of(query, n * strides[0], narrow),
                   row_of(keys, n * positions * width, narrow),
                   row_of(values, n * positions * value_width, narrow),
                   v ? row_of(v, n * strides[1], narrow) : NULL, mask + n * positions,
                   weights + n * positions, (void *)row_of(context, n * strides[2], narrow),
                   positions, width, value_width, narrow);
}

/* Gradients of the energies and of q. With v, d_keys gets the sum over steps of that of k, still
   without the factor v, and d_v that of v. */
VERSIONS
static void attend_backward_row(const void *query, const void *keys, const void *values,
                                const void *v, const float *weights, const void *d_context,
                                const float *d_weights, float *d_energies, void *d_query,
                                float *d_keys, float *d_v, size_t positions, size_t width,
                                size_t value_width, int narrow) {
    float mean = 0.0f;
    for (size_t s = 0; s < positions; s++) {
        const void *row = row_of(values, s * value_width, narrow);
        floats sum = all(0.0f);
        for (size_t e = 0; e < value_width; e += LANES)
            sum += read_part(row, e, value_width - e, narrow) *
                   read_part(d_context, e, value_width - e, narrow);
        d_energies[s] = sum_of(sum) + (d_weights ? d_weights[s] : 0.0f);
        mean += weights[s] * d_energies[s];
    }
    for (size_t s = 0; s < positions; s++) d_energies[s] = weights[s] * (d_energies[s] - mean);
    for (size_t i = 0; i < width; i += LANES) {
        size_t count = width - i;
        floats q = read_part(query, i, count, narrow), d_q = all(0.0f), d_v_part = all(0.0f);
        for (size_t s = 0; s < positions; s++) {
            floats k = read_part(row_of(keys, s * width, narrow), i, count, narrow);
            if (!v) d_q += d_energies[s] * k;
            if (!v || weights[s] == 0.0f) continue; /* as in padding, no gradient */
            floats tanh_sum = tanh_of(q + k), change = d_energies[s] * (1.0f - tanh_sum * tanh_sum);
            float *d_key = d_keys + s * width + i;
            store_part(d_key, load_part(d_key, count) + change, count);
            d_v_part += d_energies[s] * tanh_sum;
            d_q += change;
        }
        write_part(d_query, i, v ? d_q * read_part(v, i, count, narrow) : d_q, count, narrow);
        if (v) store_part(d_v + i, load_part(d_v + i, count) + d_v_part, count);
    }
}

/* `strides` are those of the rows of query, v, d_context and d_query; d_v has a row for each row. */
void nmt_attend_backward(const void *query, const void *keys, const void *values, const void *v,
                         const float *weights, const void *d_context, const float *d_weights,
                         float *d_energies, void *d_query, float *d_keys, float *d_v,
                         const size_t *strides, size_t rows, size_t positions, size_t width,
                         size_t value_width, int narrow, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t n = 0; n < rows; n++)
        attend_backward_row(
            row_of(query, n * strides[0], narrow), row_of(keys, n * positions * width, narrow),
            row_of(values, n * positions * value_width, narrow),
            v ? row_of(v, n * strides[1], narrow) : NULL, weights + n * positions,
            row_of(d_context, n * strides[2], narrow), d_weights ? d_weights + n * positions : NULL,
            d_energies + n * positions, (void *)row_of(d_query, n * strides[3], narrow),
            v ? d_keys + n * positions * width : NULL, v ? d_v + n * width : NULL, positions, width,
            value_width, narrow);
}

/* Logits of a row become `scale` times the gradient of the smoothed cross entropy; nll = -log p of
   the target, uniform = the mean of -log p. A negative target has neither loss nor gradient. */
VERSIONS
static void cross_entropy_row(void *logits, int64_t target, size_t width, float smoothing,
                              float scale, float *nll, float *uniform, int narrow, float *row) {
    floats largest = all(-INFINITY), sum = all(0.0f), total = all(0.0f);
    size_t wide = padded(width);
    for (size_t i = 0; i < width; i += LANES) {
        floats part = read_part(logits, i, width - i, narrow);
        store(row + i, part);
        total += part; /* places after the last token are 0 here, and exp(-inf) below */
    }
    for (size_t i = width; i < wide; i++) row[i] = -INFINITY;
    for (size_t i = 0; i < wide; i += LANES) largest = maximum(load(row + i), largest);
    float shift = largest_of(largest), chosen = target < 0 ? 0.0f : row[target] - shift;
    for (size_t i = 0; i < wide; i += LANES) {
        store(row + i, exponential(load(row + i) - shift));
        sum += load(row + i);
    }
    float exp_sum = sum_of(sum), log_sum = logf(exp_sum);
    *nll = target < 0 ? 0.0f : log_sum - chosen;
    *uniform = target < 0 ? 0.0f : log_sum + shift - sum_of(total) / (float)width;
    float factor = target < 0 ? 0.0f : scale, each = smoothing / (float)width;
    for (size_t i = 0; i < width; i += LANES)
        write_part(logits, i, factor * (load_part(row + i, width - i) / exp_sum - each), width - i,
                   narrow);
    if (target < 0) return;
    floats spike = all(factor * (row[target] / exp_sum - each - (1.0f - smoothing)));
    write_part(logits, (size_t)target, spike, 1, narrow);
}

void nmt_cross_entropy(void *logits, const int64_t *targets, float *nll, float *uniform,
                       size_t rows, size_t width, float smoothing, float scale, int narrow,
                       int threads) {
#pragma omp parallel num_threads(threads)
    {
        float *row = malloc(padded(width) * sizeof(float));
#pragma omp for schedule(static)
        for (size_t n = 0; n < rows; n++)
            cross_entropy_row((void *)row_of(logits, n * width, narrow), targets[n], width,
                              smoothing, scale, nll + n, uniform + n, narrow, row);
        free(row);
    }
}
