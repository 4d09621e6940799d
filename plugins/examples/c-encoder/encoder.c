/*
 * An encoder in C that looks nothing like CLIP: 7 numbers a patch, no class token, a grid of 3 x 5
 * for images at least 64 pixels wide and of 2 x 2 for smaller ones, and two taps between which a
 * caller may step in, and train what it puts there.
 *
 * Build, from this folder:
 *   cc -std=c99 -O2 -shared -fPIC -I ../../sdk/include encoder.c -o libencoder.so
 */
#include <stdlib.h>
#include <string.h>

#include "loupe_plugin.h"

enum { WIDTH = 7, EMBEDDING = 4, LAST_TAP = 2 };
/* Indices of the ports, in the order of the table below. */
enum { IMAGE, PATCH_TOKENS, PATCH_EMBEDDINGS, STREAM_IN, STREAM_OUT };

/* An image batch's place in the encoder: its grid, and the taps still to come. */
typedef struct {
    int64_t b, gh, gw;
    int32_t taps[LAST_TAP];
    size_t n_taps, current;
    int32_t train;
    /* The stream that the one step was given, for the way back; NULL before it and behind it. */
    DLManagedTensorVersioned *kept;
} Session;

static int32_t fail(LoupeError *error, int32_t status, const char *message) {
    if (error != NULL) {
        size_t len = strlen(message);
        error->len = (uint32_t)(len < sizeof error->text ? len : sizeof error->text);
        memcpy(error->text, message, error->len);
    }
    return status;
}

/* ---- Tensors ---- */

static void delete_tensor(DLManagedTensorVersioned *tensor) { free(tensor); }

/* A tensor of zeros: its header, shape and values in one piece of memory, which the host frees. */
static DLManagedTensorVersioned *new_tensor(const int64_t *shape, int32_t rank) {
    size_t n = 1, shape_bytes = (size_t)rank * sizeof *shape;
    for (int32_t axis = 0; axis < rank; axis++) n *= (size_t)shape[axis];
    DLManagedTensorVersioned *made = calloc(1, sizeof *made + shape_bytes + n * sizeof(float));
    if (made == NULL) return NULL;
    made->version.major = 1;
    made->deleter = delete_tensor;
    made->dl_tensor.device.device_type = DL_CPU;
    made->dl_tensor.dtype.code = DL_FLOAT;
    made->dl_tensor.dtype.bits = 32;
    made->dl_tensor.dtype.lanes = 1;
    made->dl_tensor.ndim = rank;
    made->dl_tensor.shape = (int64_t *)(made + 1);
    memcpy(made->dl_tensor.shape, shape, shape_bytes);
    made->dl_tensor.data = (char *)(made + 1) + shape_bytes;
    return made;
}

/* Bytes from the start to the element at an index, whatever the strides. */
static const char *element(const DLTensor *tensor, const int64_t *index) {
    int64_t offset = 0, step = 1;
    for (int32_t axis = tensor->ndim - 1; axis >= 0; axis--) {
        offset += index[axis] * (tensor->strides != NULL ? tensor->strides[axis] : step);
        step *= tensor->shape[axis];
    }
    return (const char *)tensor->data + tensor->byte_offset + offset * (int64_t)sizeof(float);
}

static float read_f32(const DLTensor *tensor, const int64_t *index) {
    float value;
    memcpy(&value, element(tensor, index), sizeof value); /* it need not be aligned */
    return value;
}

/* Whether elements are plain f32. */
static int is_f32(DLDataType dtype) {
    return dtype.code == DL_FLOAT && dtype.bits == 32 && dtype.lanes == 1;
}

/* The one tensor of an input port; NULL, with a message, if it is not there or not readable. */
static const LoupeTensor *input(const LoupeCall *call, uint32_t port, int32_t rank,
                                LoupeError *error) {
    const LoupeTensor *found = NULL;
    for (uint32_t i = 0; i < call->n_inputs; i++) {
        const LoupeValue *value = &call->inputs[i].value;
        if (call->inputs[i].port != port) continue;
        if (found != NULL || value->kind != LOUPE_TENSOR || value->n_tensors != 1) {
            fail(error, LOUPE_BAD_INPUT, "an input wants exactly one tensor");
            return NULL;
        }
        found = &value->tensors[0];
    }
    if (found == NULL)
        fail(error, LOUPE_BAD_INPUT, "an input is missing");
    else if (found->dl.device.device_type != DL_CPU)
        fail(error, LOUPE_BAD_INPUT, "this encoder computes on the CPU; copy the tensor first");
    else if (!is_f32(found->dl.dtype))
        fail(error, LOUPE_BAD_INPUT, "an input wants f32");
    else if (found->dl.ndim != rank)
        fail(error, LOUPE_BAD_INPUT, "an input has another number of dimensions than declared");
    else
        return found;
    return NULL;
}

/* ---- The model ---- */

/* To the first tap: of each cell the mean and the mean square of the three channels, and a one. */
static void embed(const DLTensor *image, const Session *at, float *stream) {
    int64_t h = image->shape[2], w = image->shape[3];
    for (int64_t cell = 0; cell < at->b * at->gh * at->gw; cell++) {
        int64_t n = cell / (at->gh * at->gw), row = cell / at->gw % at->gh, column = cell % at->gw;
        int64_t top = row * h / at->gh, bottom = (row + 1) * h / at->gh;
        int64_t left = column * w / at->gw, right = (column + 1) * w / at->gw;
        float *out = stream + cell * WIDTH;
        for (int64_t channel = 0; channel < 3; channel++) {
            double sum = 0, squares = 0;
            for (int64_t y = top; y < bottom; y++) {
                for (int64_t x = left; x < right; x++) {
                    int64_t index[4] = {n, channel, y, x};
                    double value = read_f32(image, index);
                    sum += value;
                    squares += value * value;
                }
            }
            double pixels = (double)((bottom - top) * (right - left));
            out[channel] = (float)(sum / pixels);
            out[3 + channel] = (float)(squares / pixels);
        }
        out[6] = 1.0f;
    }
}

/* From the first tap to the second: each number mixed with its neighbours, bent, and added. */
static void block(float *stream, int64_t n_cells) {
    for (int64_t cell = 0; cell < n_cells; cell++) {
        float before[WIDTH], *x = stream + cell * WIDTH;
        memcpy(before, x, sizeof before);
        for (int i = 0; i < WIDTH; i++) {
            float next = before[(i + 1) % WIDTH], third = before[(i + 3) % WIDTH];
            float mixed = 0.5f * before[i] - next + 0.25f * third;
            float size = mixed < 0 ? -mixed : mixed;
            x[i] = before[i] + mixed / (1.0f + size);
        }
    }
}

/* From the second tap back to the first: the cotangent of what `block` made of `before`. */
static void block_back(const float *before, float *cotangent, int64_t n_cells) {
    for (int64_t cell = 0; cell < n_cells; cell++) {
        const float *x = before + cell * WIDTH;
        float *out = cotangent + cell * WIDTH, of_mixed[WIDTH];
        for (int i = 0; i < WIDTH; i++) {
            float mixed = 0.5f * x[i] - x[(i + 1) % WIDTH] + 0.25f * x[(i + 3) % WIDTH];
            float bent = 1.0f + (mixed < 0 ? -mixed : mixed);
            of_mixed[i] = out[i] / (bent * bent);
        }
        for (int i = 0; i < WIDTH; i++)
            out[i] += 0.5f * of_mixed[i] - of_mixed[(i + WIDTH - 1) % WIDTH] +
                      0.25f * of_mixed[(i + WIDTH - 3) % WIDTH];
    }
}

/* The tokens projected: each output is a difference of two numbers, and half a third. */
static void project(const float *tokens, int64_t n_cells, float *out) {
    for (int64_t cell = 0; cell < n_cells; cell++) {
        const float *x = tokens + cell * WIDTH;
        for (int i = 0; i < EMBEDDING; i++)
            out[cell * EMBEDDING + i] = x[i] - x[(2 * i + 3) % WIDTH] + 0.5f * x[(i + 5) % WIDTH];
    }
}

/* ---- From a call to the model and back ---- */

/* The batch and the grid that an image tensor asks for. */
static int32_t begin(const DLTensor *image, Session *at, LoupeError *error) {
    if (image->shape[1] != 3) return fail(error, LOUPE_BAD_INPUT, "`image` wants 3 channels");
    at->b = image->shape[0];
    at->gh = image->shape[3] >= 64 ? 3 : 2;
    at->gw = image->shape[3] >= 64 ? 5 : 2;
    if (at->b < 0 || image->shape[2] < at->gh || image->shape[3] < at->gw)
        return fail(error, LOUPE_BAD_INPUT, "`image` wants at least 2 x 2 pixels");
    return LOUPE_OK;
}

static DLManagedTensorVersioned *new_stream(const Session *at) {
    int64_t shape[3] = {at->b, at->gh * at->gw, WIDTH};
    return new_tensor(shape, 3);
}

/* A copy of the stream that the caller gives, which it may have changed since it was put. */
static DLManagedTensorVersioned *read_stream(const Session *at, const LoupeCall *call,
                                             LoupeError *error) {
    const LoupeTensor *given = input(call, STREAM_IN, 3, error);
    if (given == NULL) return NULL;
    const int64_t *shape = given->dl.shape;
    if (shape[0] != at->b || shape[1] != at->gh * at->gw || shape[2] != WIDTH) {
        fail(error, LOUPE_BAD_INPUT, "`stream` has another shape than the one that was put");
        return NULL;
    }
    DLManagedTensorVersioned *copy = new_stream(at);
    if (copy == NULL) {
        fail(error, LOUPE_ERROR, "out of memory");
        return NULL;
    }
    float *out = copy->dl_tensor.data;
    for (int64_t i = 0; i < shape[0] * shape[1] * shape[2]; i++) {
        int64_t index[3] = {i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]};
        out[i] = read_f32(&given->dl, index);
    }
    return copy;
}

static int32_t put(const LoupeCall *call, uint32_t port, LoupeLabel label,
                   DLManagedTensorVersioned *made) {
    return call->sink->put_tensor(call->sink->ctx, port, label, made);
}

/* Puts the wanted outputs of a stream that stands after the last block. */
static int32_t put_outputs(const Session *at, const LoupeCall *call, LoupeLabel label,
                           const float *stream, LoupeError *error) {
    int64_t n_cells = at->b * at->gh * at->gw;
    int64_t tokens[4] = {at->b, at->gh, at->gw, WIDTH};
    int64_t embeddings[4] = {at->b, at->gh, at->gw, EMBEDDING};
    if (call->wanted >> PATCH_TOKENS & 1) {
        DLManagedTensorVersioned *made = new_tensor(tokens, 4);
        if (made == NULL) return fail(error, LOUPE_ERROR, "out of memory");
        memcpy(made->dl_tensor.data, stream, (size_t)n_cells * WIDTH * sizeof *stream);
        int32_t status = put(call, PATCH_TOKENS, label, made);
        if (status != LOUPE_OK) return fail(error, status, "the host refused `patch_tokens`");
    }
    if (call->wanted >> PATCH_EMBEDDINGS & 1) {
        DLManagedTensorVersioned *made = new_tensor(embeddings, 4);
        if (made == NULL) return fail(error, LOUPE_ERROR, "out of memory");
        project(stream, n_cells, made->dl_tensor.data);
        int32_t status = put(call, PATCH_EMBEDDINGS, label, made);
        if (status != LOUPE_OK) return fail(error, status, "the host refused `patch_embeddings`");
    }
    return LOUPE_OK;
}

static int32_t encode_images(void *instance, const LoupeCall *call, LoupeError *error) {
    (void)instance;
    Session at = {0};
    const LoupeTensor *image = input(call, IMAGE, 4, error);
    if (image == NULL) return LOUPE_BAD_INPUT;
    int32_t status = begin(&image->dl, &at, error);
    if (status != LOUPE_OK) return status;
    DLManagedTensorVersioned *stream = new_stream(&at);
    if (stream == NULL) return fail(error, LOUPE_ERROR, "out of memory");
    embed(&image->dl, &at, stream->dl_tensor.data);
    block(stream->dl_tensor.data, at.b * at.gh * at.gw);
    status = put_outputs(&at, call, image->label, stream->dl_tensor.data, error);
    delete_tensor(stream);
    return status;
}

/* ---- Stepping from tap to tap ---- */

static int32_t new_session(const int32_t *taps, size_t n_taps, int32_t train,
                           const LoupeCall *call, Session **made, LoupeError *error) {
    if (n_taps < 1 || n_taps > LAST_TAP || taps[0] < 1 || taps[n_taps - 1] > LAST_TAP ||
        (n_taps == 2 && taps[0] >= taps[1]))
        return fail(error, LOUPE_BAD_INPUT, "taps are 1 and 2, ascending");
    const LoupeTensor *image = input(call, IMAGE, 4, error);
    if (image == NULL) return LOUPE_BAD_INPUT;
    Session at = {0};
    int32_t status = begin(&image->dl, &at, error);
    if (status != LOUPE_OK) return status;
    memcpy(at.taps, taps, n_taps * sizeof *taps);
    at.n_taps = n_taps;
    at.train = train;
    *made = malloc(sizeof **made);
    if (*made == NULL) return fail(error, LOUPE_ERROR, "out of memory");
    **made = at;
    return LOUPE_OK;
}

static LoupeLabel label_of(const Session *at) {
    LoupeLabel label = {-1, at->taps[at->current]};
    return label;
}

static int32_t open_pass(void *instance, const int32_t *taps, size_t n_taps, int32_t train,
                         const LoupeCall *call, void **session, LoupeError *error) {
    (void)instance;
    Session *at = NULL;
    int32_t status = new_session(taps, n_taps, train, call, &at, error);
    if (status != LOUPE_OK) return status;
    DLManagedTensorVersioned *stream = new_stream(at);
    if (stream == NULL) {
        free(at);
        return fail(error, LOUPE_ERROR, "out of memory");
    }
    embed(&input(call, IMAGE, 4, error)->dl, at, stream->dl_tensor.data);
    if (at->taps[0] == 2) block(stream->dl_tensor.data, at->b * at->gh * at->gw);
    status = put(call, STREAM_OUT, label_of(at), stream);
    if (status != LOUPE_OK) {
        free(at);
        return fail(error, status, "the host refused `stream`");
    }
    *session = at;
    return LOUPE_OK;
}

static int32_t open_at(void *instance, const int32_t *taps, size_t n_taps, int32_t train,
                       const LoupeCall *call, void **session, LoupeError *error) {
    (void)instance;
    Session *at = NULL;
    int32_t status = new_session(taps, n_taps, train, call, &at, error);
    if (status == LOUPE_OK) *session = at;
    return status;
}

static int32_t resume(void *session, const LoupeCall *call, LoupeError *error) {
    Session *at = session;
    if (at->current + 1 >= at->n_taps)
        return fail(error, LOUPE_BAD_INPUT, "the pass stands at its last tap");
    DLManagedTensorVersioned *stream = read_stream(at, call, error);
    if (stream == NULL) return LOUPE_BAD_INPUT;
    if (at->train) {
        at->kept = read_stream(at, call, error);
        if (at->kept == NULL) {
            delete_tensor(stream);
            return LOUPE_ERROR;
        }
    }
    block(stream->dl_tensor.data, at->b * at->gh * at->gw);
    at->current++;
    return put(call, STREAM_OUT, label_of(at), stream);
}

static int32_t backward(void *session, uint32_t segment, const LoupeCall *call,
                        LoupeError *error) {
    Session *at = session;
    if (segment != 0 || at->kept == NULL)
        return fail(error, LOUPE_BAD_INPUT, "there is no such step to walk back, or no longer");
    DLManagedTensorVersioned *cotangent = read_stream(at, call, error);
    if (cotangent == NULL) return LOUPE_BAD_INPUT;
    block_back(at->kept->dl_tensor.data, cotangent->dl_tensor.data, at->b * at->gh * at->gw);
    delete_tensor(at->kept);
    at->kept = NULL;
    LoupeLabel label = {-1, at->taps[0]};
    return put(call, STREAM_OUT, label, cotangent);
}

static void drop(void *session) {
    Session *at = session;
    if (at != NULL && at->kept != NULL) delete_tensor(at->kept);
    free(at);
}

static int32_t finish(void *session, const LoupeCall *call, LoupeError *error) {
    Session *at = session;
    DLManagedTensorVersioned *stream = read_stream(at, call, error);
    if (stream == NULL) return LOUPE_BAD_INPUT;
    if (at->taps[at->current] == 1) block(stream->dl_tensor.data, at->b * at->gh * at->gw);
    LoupeLabel none = {-1, -1};
    int32_t status = put_outputs(at, call, none, stream->dl_tensor.data, error);
    delete_tensor(stream);
    return status;
}

/* ---- The descriptor ---- */

static int32_t create(const LoupeHost *host, LoupeStr config, void **instance, LoupeError *error) {
    static char only; /* nothing to configure: every instance is the same one */
    (void)host;
    (void)error;
    (void)config;
    *instance = &only;
    return LOUPE_OK;
}

static void destroy(void *instance) { (void)instance; }

static int32_t check(const LoupeHost *host, LoupeStr config, const LoupeSink *sink,
                     LoupeError *error) {
    static const char facts[] =
        "{\"dims\": {\"c\": 7, \"d\": 4}, \"taps\": [1, 2], \"n_prefix\": 0}";
    LoupeStr text = {facts, sizeof facts - 1};
    (void)host;
    (void)config;
    (void)error;
    return sink->put_json(sink->ctx, text);
}

static const LoupeTaps taps_table = {
    sizeof taps_table, 0, open_pass, open_at, resume, finish, drop,
};
static const LoupeBackward backward_table = {sizeof backward_table, 0, backward};

static const void *get_extension(const char *id) {
    if (strcmp(id, LOUPE_EXT_TAPS) == 0) return &taps_table;
    return strcmp(id, LOUPE_EXT_BACKWARD) == 0 ? (const void *)&backward_table : NULL;
}

#define PORT(verb, direction, name, shape, about)                                             \
    {sizeof(LoupePort),  verb, direction, LOUPE_TENSOR, LOUPE_F32,                            \
     LOUPE_SCOPE_IMAGE,  0,    0,         name,         shape,     about}

static const LoupePort port_table[] = {
    PORT(LOUPE_VERB_RUN, LOUPE_IN, "image", "b 3 h w", "prepared images"),
    PORT(LOUPE_VERB_RUN, LOUPE_OUT, "patch_tokens", "b gh gw c", "7 numbers a patch"),
    PORT(LOUPE_VERB_RUN, LOUPE_OUT, "patch_embeddings", "b gh gw d", "4 numbers a patch"),
    PORT(LOUPE_VERB_TAP, LOUPE_IN, "stream", "b t c", "the patches at a tap"),
    PORT(LOUPE_VERB_TAP, LOUPE_OUT, "stream", "b t c", "the patches at the next tap"),
};
static const LoupePort *const ports[] = {
    &port_table[0], &port_table[1], &port_table[2], &port_table[3], &port_table[4],
};

static const LoupeVerbs verbs = {sizeof verbs, 0, encode_images, NULL};

static const LoupeComponent seven = {
    sizeof seven,
    1,
    LOUPE_DETERMINISTIC | LOUPE_BATCH_INVARIANT | LOUPE_THREAD_SAFE,
    LOUPE_CPU,
    "loupe.encoder/1",
    "seven",
    "Seven numbers a patch, on a grid of its own.",
    "{\"type\": \"object\", \"properties\": {}, \"required\": [], \"additionalProperties\": false}",
    5,
    0,
    ports,
    &verbs,
    create,
    destroy,
    check,
    get_extension,
};
static const LoupeComponent *const components[] = {&seven};

static const LoupePlugin plugin = {
    LOUPE_ABI, sizeof plugin, 0, 1, "seven", "1.0.0", components, NULL,
};

const LoupePlugin *loupe_plugin(void) { return &plugin; }
