/*
 * A fusion in C: the median of its parts, element by element.
 *
 * Build, from this folder:
 *   cc -std=c99 -O2 -shared -fPIC -I ../../sdk/include median.c -o libmedian.so
 */
#include <stdlib.h>
#include <string.h>

#include "loupe_plugin.h"

enum { PARTS, FUSED };

/* A message for the host, in its own memory. */
static int32_t fail(LoupeError *error, int32_t status, const char *message) {
    if (error != NULL) {
        size_t len = strlen(message);
        error->len = (uint32_t)(len < sizeof error->text ? len : sizeof error->text);
        memcpy(error->text, message, error->len);
    }
    return status;
}

/* Number of elements; -1 for a shape that is none. */
static int64_t count(const DLTensor *tensor) {
    int64_t n = 1;
    for (int32_t axis = 0; axis < tensor->ndim; axis++) {
        int64_t dim = tensor->shape[axis];
        if (dim < 0 || (dim > 0 && n > INT64_MAX / 4 / dim)) return -1;
        n *= dim;
    }
    return n;
}

/* Element `index` in row-major order, whatever the strides and the alignment. */
static float at(const DLTensor *tensor, int64_t index) {
    int64_t offset = index;
    if (tensor->strides != NULL) {
        offset = 0;
        for (int32_t axis = tensor->ndim - 1; axis >= 0; axis--) {
            offset += index % tensor->shape[axis] * tensor->strides[axis];
            index /= tensor->shape[axis];
        }
    }
    float value;
    memcpy(&value, (const char *)tensor->data + tensor->byte_offset + offset * 4, sizeof value);
    return value;
}

/* A tensor, its shape and its values in one piece of memory, which the host frees. */
static void delete_tensor(DLManagedTensorVersioned *tensor) { free(tensor); }

static DLManagedTensorVersioned *new_like(const DLTensor *like, int64_t n) {
    size_t shape_bytes = (size_t)like->ndim * sizeof(int64_t);
    DLManagedTensorVersioned *made = calloc(1, sizeof *made + shape_bytes + (size_t)n * 4);
    if (made == NULL) return NULL;
    made->version.major = 1;
    made->deleter = delete_tensor;
    made->dl_tensor.device.device_type = DL_CPU;
    made->dl_tensor.dtype.code = DL_FLOAT;
    made->dl_tensor.dtype.bits = 32;
    made->dl_tensor.dtype.lanes = 1;
    made->dl_tensor.ndim = like->ndim;
    made->dl_tensor.shape = (int64_t *)(made + 1);
    if (shape_bytes > 0) memcpy(made->dl_tensor.shape, like->shape, shape_bytes);
    made->dl_tensor.data = (char *)(made + 1) + shape_bytes;
    return made;
}

static int ascending(const void *a, const void *b) {
    float left = *(const float *)a, right = *(const float *)b;
    return (left > right) - (left < right);
}

static int same_shape(const DLTensor *a, const DLTensor *b) {
    if (a->ndim != b->ndim) return 0;
    return a->ndim == 0 || memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof(int64_t)) == 0;
}

static int32_t fuse(void *instance, const LoupeCall *call, LoupeError *error) {
    (void)instance;
    uint32_t n_parts = call->n_inputs;
    if (n_parts == 0) return fail(error, LOUPE_BAD_INPUT, "`parts` is empty");
    for (uint32_t i = 0; i < n_parts; i++) {
        const LoupeValue *value = &call->inputs[i].value;
        if (call->inputs[i].port != PARTS || value->kind != LOUPE_TENSOR || value->n_tensors != 1)
            return fail(error, LOUPE_BAD_INPUT, "`parts` wants single tensors");
        const DLTensor *part = &value->tensors[0].dl;
        if (part->device.device_type != DL_CPU)
            return fail(error, LOUPE_BAD_INPUT, "`median` computes on the CPU; copy it first");
        if (part->dtype.code != DL_FLOAT || part->dtype.bits != 32 || part->dtype.lanes != 1)
            return fail(error, LOUPE_BAD_INPUT, "`parts` wants f32");
        if (!same_shape(part, &call->inputs[0].value.tensors[0].dl))
            return fail(error, LOUPE_BAD_INPUT, "`parts` wants one shape, but the parts differ");
    }
    if ((call->wanted >> FUSED & 1) == 0) return LOUPE_OK;

    const LoupeTensor *first = &call->inputs[0].value.tensors[0];
    int64_t n = count(&first->dl);
    if (n < 0) return fail(error, LOUPE_BAD_INPUT, "`parts` has an impossible shape");
    DLManagedTensorVersioned *made = new_like(&first->dl, n);
    float *column = malloc(n_parts * sizeof *column);
    if (made == NULL || column == NULL) {
        free(made);
        free(column);
        return fail(error, LOUPE_ERROR, "out of memory");
    }
    float *out = made->dl_tensor.data;
    for (int64_t i = 0; i < n; i++) {
        for (uint32_t part = 0; part < n_parts; part++)
            column[part] = at(&call->inputs[part].value.tensors[0].dl, i);
        qsort(column, n_parts, sizeof *column, ascending);
        out[i] = n_parts % 2 ? column[n_parts / 2]
                             : 0.5f * (column[n_parts / 2 - 1] + column[n_parts / 2]);
    }
    free(column);
    /* The sink owns the tensor from here on, even if it refuses it. */
    return call->sink->put_tensor(call->sink->ctx, FUSED, first->label, made);
}

/* There is nothing to configure, so every instance is the same one. */
static int32_t create(const LoupeHost *host, LoupeStr config, void **instance, LoupeError *error) {
    static char only;
    (void)host;
    (void)error;
    (void)config;
    *instance = &only;
    return LOUPE_OK;
}

static void destroy(void *instance) { (void)instance; }

static const LoupePort parts = {
    sizeof parts,  LOUPE_VERB_RUN,  LOUPE_IN, LOUPE_TENSOR, LOUPE_F32, LOUPE_SCOPE_IMAGE,
    LOUPE_PORT_MANY, 0, "parts", "...", "scores of one shape",
};
static const LoupePort fused = {
    sizeof fused, LOUPE_VERB_RUN, LOUPE_OUT, LOUPE_TENSOR, LOUPE_F32, LOUPE_SCOPE_IMAGE,
    0, 0, "fused", "...", "their median",
};
static const LoupePort *const ports[] = {&parts, &fused};

static const LoupeVerbs verbs = {sizeof verbs, 0, fuse, NULL};

static const LoupeComponent median = {
    sizeof median,
    1,
    LOUPE_DETERMINISTIC | LOUPE_BATCH_INVARIANT | LOUPE_THREAD_SAFE,
    LOUPE_CPU,
    "loupe.fusion/1",
    "median",
    "Median of the parts, element by element.",
    "{\"type\": \"object\", \"properties\": {}, \"required\": [], \"additionalProperties\": false}",
    2,
    0,
    ports,
    &verbs,
    create,
    destroy,
    NULL,
    NULL,
};
static const LoupeComponent *const components[] = {&median};

static const LoupePlugin plugin = {
    LOUPE_ABI, sizeof plugin, 0, 1, "median", "1.0.0", components, NULL,
};

const LoupePlugin *loupe_plugin(void) { return &plugin; }
