/*
 * A fusion that stands on an encoder's taps: at each it sums the numbers of every patch into a map,
 * and hands half of the stream on, so that what it did at one tap shows at the next. Without
 * `like` the patches stand in a square.
 */
#include <stdlib.h>
#include <string.h>

#include "loupe_plugin.h"

enum { STREAM_IN, LIKE, SUMS, STREAM_OUT };

static int32_t fail(LoupeError *error, const char *message) {
    error->len = (uint32_t)strlen(message);
    memcpy(error->text, message, error->len);
    return LOUPE_BAD_INPUT;
}

static void delete_tensor(DLManagedTensorVersioned *tensor) { free(tensor); }

static DLManagedTensorVersioned *new_tensor(const int64_t *shape, int32_t rank) {
    size_t n = 1, shape_bytes = (size_t)rank * sizeof *shape;
    for (int32_t axis = 0; axis < rank; axis++) n *= (size_t)shape[axis];
    DLManagedTensorVersioned *made = calloc(1, sizeof *made + shape_bytes + n * sizeof(float));
    made->version.major = 1;
    made->deleter = delete_tensor;
    made->dl_tensor.device.device_type = DL_CPU;
    made->dl_tensor.dtype = (DLDataType){DL_FLOAT, 32, 1};
    made->dl_tensor.ndim = rank;
    made->dl_tensor.shape = (int64_t *)(made + 1);
    memcpy(made->dl_tensor.shape, shape, shape_bytes);
    made->dl_tensor.data = (char *)(made + 1) + shape_bytes;
    return made;
}

/* The one tensor of a port. */
static const LoupeTensor *given(const LoupeCall *call, uint32_t port) {
    for (uint32_t i = 0; i < call->n_inputs; i++)
        if (call->inputs[i].port == port && call->inputs[i].value.n_tensors == 1)
            return &call->inputs[i].value.tensors[0];
    return NULL;
}

static int32_t fuse(void *instance, const LoupeCall *call, LoupeError *error) {
    (void)instance;
    const LoupeTensor *stream = given(call, STREAM_IN), *like = given(call, LIKE);
    if (stream == NULL) return fail(error, "`stream` wants a tensor");
    const int64_t *dims = stream->dl.shape;
    int64_t side = 1;
    while (side * side < dims[1]) side++;
    const int64_t square[] = {dims[0], side, side}, *grid = like != NULL ? like->dl.shape : square;
    if (stream->dl.strides != NULL || dims[1] != grid[1] * grid[2])
        return fail(error, "`stream` wants the patches of `like`, in order");
    DLManagedTensorVersioned *sums = new_tensor(grid, 3);
    DLManagedTensorVersioned *halves = new_tensor(dims, 3);
    for (int64_t i = 0; i < dims[0] * dims[1]; i++) {
        for (int64_t c = 0; c < dims[2]; c++) {
            float x;
            const char *data = (const char *)stream->dl.data + stream->dl.byte_offset;
            memcpy(&x, data + (i * dims[2] + c) * 4, sizeof x);
            ((float *)sums->dl_tensor.data)[i] += x;
            ((float *)halves->dl_tensor.data)[i * dims[2] + c] = 0.5f * x;
        }
    }
    LoupeLabel none = {-1, -1};
    int32_t status = call->sink->put_tensor(call->sink->ctx, SUMS, none, sums);
    int32_t last = call->sink->put_tensor(call->sink->ctx, STREAM_OUT, none, halves);
    return status != LOUPE_OK ? status : last;
}

static int32_t create(const LoupeHost *host, LoupeStr config, void **instance, LoupeError *error) {
    static char only;
    (void)host, (void)config, (void)error;
    *instance = &only;
    return LOUPE_OK;
}

static void destroy(void *instance) { (void)instance; }

#define PORT(verb, direction, flags, name, shape)                                           \
    {sizeof(LoupePort), verb, direction, LOUPE_TENSOR, LOUPE_F32, LOUPE_SCOPE_IMAGE, flags, \
     0,                 name, shape,     ""}

static const LoupePort table[] = {
    PORT(LOUPE_VERB_TAP, LOUPE_IN, 0, "stream", "b t c"),
    PORT(LOUPE_VERB_RUN, LOUPE_IN, LOUPE_PORT_OPTIONAL, "like", "b gh gw c"),
    PORT(LOUPE_VERB_RUN, LOUPE_OUT, 0, "sums", "b gh gw"),
    PORT(LOUPE_VERB_TAP, LOUPE_OUT, 0, "stream", "b t c"),
};
static const LoupePort *const ports[] = {&table[0], &table[1], &table[2], &table[3]};

static const LoupeVerbs verbs = {sizeof verbs, 0, fuse, NULL};

static const LoupeComponent halve = {
    sizeof halve,
    1,
    LOUPE_DETERMINISTIC | LOUPE_BATCH_INVARIANT | LOUPE_THREAD_SAFE,
    LOUPE_CPU,
    "loupe.fusion/1",
    "halve",
    "Sums each patch at a tap and halves the stream.",
    "{\"type\": \"object\", \"properties\": {}, \"required\": [], \"additionalProperties\": false}",
    4,
    0,
    ports,
    &verbs,
    create,
    destroy,
    NULL,
    NULL,
};
static const LoupeComponent *const components[] = {&halve};

static const LoupePlugin plugin = {
    LOUPE_ABI, sizeof plugin, 0, 1, "halve", "1.0.0", components, NULL,
};

const LoupePlugin *loupe_plugin(void) { return &plugin; }
