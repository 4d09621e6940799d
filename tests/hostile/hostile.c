/* A fusion that is the sum of its parts, and everything a plugin can do wrong: each switch (-D)
 * breaks one thing. Without a switch it behaves, so that a refusal in a test is the work of the
 * switch. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loupe_plugin.h"

#define LOG(host, word) (host)->log((host)->ctx, LOUPE_LOG_INFO, (LoupeStr){word, strlen(word)})

/* An instance is a pointer to its host; this is the host of the instance that runs. */
static const LoupeHost *host_of_run;

#ifdef UNDEFINED
void there_is_no_such_function(void);
#endif

__attribute__((constructor)) static void loaded(void) {
#ifdef CRASH
    raise(SIGSEGV);
#endif
#ifdef LOOP
    for (;;) sleep(1);
#endif
#ifdef EXIT
    _exit(0);
#endif
#ifdef UNDEFINED
    there_is_no_such_function();
#endif
}

static int fail(LoupeError *error, int status, const char *message) {
    error->len = (uint32_t)strlen(message);
    memcpy(error->text, message, error->len);
    return status;
}

static int create(const LoupeHost *host, LoupeStr config, void **instance, LoupeError *error) {
    (void)config;
#ifdef BAD_CONFIG
    return fail(error, LOUPE_BAD_CONFIG, "`floor` must be below 1");
#endif
#ifdef LYING_ERROR
    memset(error->text, 'x', sizeof error->text);
    error->len = 4000000000u;
    return LOUPE_ERROR;
#endif
    (void)error;
    const LoupeHost **made = malloc(sizeof *made);
    *made = host;
    *instance = made;
    return LOUPE_OK;
}

static void destroy(void *instance) {
    const LoupeHost *host = *(const LoupeHost **)instance;
    LOG(host, "destroyed");
    free(instance);
}

typedef struct {
    DLManagedTensorVersioned managed;
    int64_t shape[3];
    int64_t strides[3];
    char *data;
} Owned;

static void delete_owned(DLManagedTensorVersioned *tensor) {
    Owned *owned = tensor->manager_ctx;
    LOG(host_of_run, "freed");
    free(owned->data);
    free(owned);
}

static void fill(Owned *owned, const LoupeCall *call, size_t n) {
    float *out = (float *)owned->data;
    memset(out, 0, n * sizeof *out);
    for (uint32_t i = 0; i < call->n_inputs; i++) {
        const float *part = call->inputs[i].value.tensors[0].dl.data;
        for (size_t k = 0; k < n; k++) out[k] += part[k];
    }
#ifdef NON_FINITE
    out[5] = NAN;
#endif
#ifdef GIVES_F64
    for (size_t k = n; k-- > 0;) ((double *)owned->data)[k] = (double)out[k];
#endif
#ifdef STRIDED
    /* The last two axes change places in memory. */
    float copy[64];
    memcpy(copy, out, n * sizeof *out);
    size_t h = (size_t)owned->shape[1], w = (size_t)owned->shape[2];
    for (size_t k = 0; k < n; k++) {
        size_t b = k / (h * w), y = k / w % h, x = k % w;
        out[b * h * w + x * h + y] = copy[k];
    }
    owned->strides[0] = (int64_t)(h * w);
    owned->strides[1] = 1;
    owned->strides[2] = (int64_t)h;
    owned->managed.dl_tensor.strides = owned->strides;
#endif
#ifdef MISALIGNED
    memmove(owned->data + 1, out, n * sizeof *out);
    owned->managed.dl_tensor.byte_offset = 1;
#endif
}

static Owned *make(const LoupeCall *call) {
    const DLTensor *first = &call->inputs[0].value.tensors[0].dl;
    Owned *owned = calloc(1, sizeof *owned);
    size_t n = 1;
    for (int i = 0; i < 3; i++) {
        owned->shape[i] = first->shape[i];
        n *= (size_t)first->shape[i];
    }
    owned->data = calloc(n + 1, 8);
    DLDataType f32 = {DL_FLOAT, 32, 1};
    DLTensor tensor = {owned->data, {DL_CPU, 0}, 3, f32, owned->shape, NULL, 0};
    owned->managed = (DLManagedTensorVersioned){{1, 0}, owned, delete_owned, 0, tensor};
    DLTensor *made = &owned->managed.dl_tensor;
    fill(owned, call, n);
    (void)made;
#ifdef WRONG_SHAPE
    owned->shape[1] += 1;
#endif
#ifdef WRONG_RANK
    made->ndim = 2;
#endif
#ifdef NEGATIVE_RANK
    made->ndim = -1;
#endif
#ifdef NEGATIVE_DIM
    owned->shape[2] = -4;
#endif
#ifdef HUGE_DIM
    owned->shape[2] = INT64_MAX;
#endif
#ifdef GIVES_I64
    made->dtype = (DLDataType){DL_INT, 64, 1};
#endif
#ifdef GIVES_F64
    made->dtype = (DLDataType){DL_FLOAT, 64, 1};
#endif
#ifdef GIVES_CUDA
    made->device = (DLDevice){DL_CUDA, 1};
#endif
#ifdef NO_DATA
    made->data = NULL;
#endif
#ifdef NULL_DELETER
    owned->managed.deleter = NULL;
#endif
#ifdef NEXT_DLPACK
    owned->managed.version.major = 2;
#endif
    return owned;
}

static int run(void *instance, const LoupeCall *call, LoupeError *error) {
    host_of_run = *(const LoupeHost **)instance;
    const LoupeSink *sink = call->sink;
    LoupeLabel none = {-1, -1};
    uint32_t port = 1;
#ifdef SLOW
    static volatile int inside;
    if (inside) return fail(error, LOUPE_ERROR, "two calls at once");
    inside = 1;
    usleep(3000);
    inside = 0;
#endif
#ifdef PANICS
    return fail(error, LOUPE_PANIC, "index out of bounds: the len is 3 but the index is 7");
#endif
#ifdef CANCELS
    return fail(error, LOUPE_CANCELLED, "");
#endif
#ifdef UNKNOWN_STATUS
    return fail(error, 17, "out of paper");
#endif
#ifdef NO_OUTPUT
    return LOUPE_OK;
#endif
#ifdef UNKNOWN_PORT
    port = 9;
#endif
#ifdef NULL_TENSOR
    sink->put_tensor(sink->ctx, port, none, NULL);
    return LOUPE_OK;
#endif
#ifdef PUTS_TEXT
    LoupeSentence sentence = {{"a photo", 7}, 0, 1.0f, {"", 0}};
    sink->put_text(sink->ctx, port, &sentence, 1);
    return LOUPE_OK;
#endif
#ifdef TWICE
    sink->put_tensor(sink->ctx, port, none, &make(call)->managed);
#endif
    if (sink->put_tensor(sink->ctx, port, none, &make(call)->managed) != LOUPE_OK)
        return fail(error, LOUPE_ERROR, "the host did not take the map");
    return LOUPE_OK;
}

#define PORT sizeof(LoupePort), LOUPE_VERB_RUN

#ifdef BAD_PORT_KIND
#define OUT_KIND 1024
#else
#define OUT_KIND LOUPE_TENSOR
#endif
#ifdef BAD_PORT_SHAPE
#define OUT_SHAPE "b ? gw"
#elif defined(NO_PORT_SHAPE)
#define OUT_SHAPE NULL
#else
#define OUT_SHAPE "b gh gw"
#endif

static const LoupePort parts = {
    PORT, LOUPE_IN, LOUPE_TENSOR, LOUPE_F32, LOUPE_SCOPE_IMAGE, LOUPE_PORT_MANY, 0,
    "parts", "b gh gw", "Scores to add.",
};
static const LoupePort map = {
    PORT, LOUPE_OUT, OUT_KIND, LOUPE_F32, LOUPE_SCOPE_IMAGE, 0, 0,
    "map", OUT_SHAPE, "Their sum.",
};
#ifdef TWO_PORTS_OF_ONE_NAME
static const LoupePort *const ports[] = {&parts, &map, &map};
#else
static const LoupePort *const ports[] = {&parts, &map};
#endif

static const LoupeVerbs verbs = {
    sizeof(LoupeVerbs), 0,
#ifdef NULL_RUN
    NULL,
#else
    run,
#endif
    NULL,
};

#ifdef NULL_FIT_PUSH
static int fit_open(void *instance, void **fit, LoupeError *error) {
    (void)instance, (void)fit, (void)error;
    return LOUPE_OK;
}
static const LoupeFit fit = {.size = sizeof(LoupeFit), .fit_open = fit_open};
#endif

static const void *get_extension(const char *id) {
#ifdef NULL_FIT_PUSH
    if (strcmp(id, LOUPE_EXT_FIT) == 0) return &fit;
#endif
    (void)id;
    return NULL;
}

#ifdef UNKNOWN_KIND
#define KIND "loupe.wizard/1"
#else
#define KIND "loupe.fusion/1"
#endif
#ifdef BAD_SCHEMA
#define SCHEMA "{\"type\": \"object\","
#elif defined(SCHEMA_OF_A_LIST)
#define SCHEMA "{\"type\": \"array\"}"
#else
#define SCHEMA "{\"type\": \"object\", \"properties\": {}, \"additionalProperties\": false}"
#endif
#ifdef BAD_NAME
#define NAME "su\xffm"
#elif defined(NULL_NAME)
#define NAME NULL
#elif defined(PATH_NAME)
#define NAME "../sum"
#else
#define NAME "sum-in-c"
#endif
#ifdef OLDER
/* What a header without the last two functions would have given. */
#define SIZE offsetof(LoupeComponent, check)
#elif defined(NO_SIZE)
#define SIZE 0
#else
#define SIZE sizeof(LoupeComponent)
#endif
#ifdef NULL_CREATE
#define CREATE NULL
#else
#define CREATE create
#endif

static const LoupeComponent sum = {
    .size = SIZE, .revision = 1, .devices = LOUPE_CPU,
    .kind = KIND, .name = NAME, .about = "The sum of its parts.", .config_schema = SCHEMA,
    .n_ports = sizeof ports / sizeof *ports, .ports = ports, .verbs = &verbs,
    .create = CREATE, .destroy = destroy, .get_extension = get_extension,
};
#ifdef DUPLICATE
static const LoupeComponent *const components[] = {&sum, &sum};
#elif defined(NULL_COMPONENT)
static const LoupeComponent *const components[] = {NULL};
#else
static const LoupeComponent *const components[] = {&sum};
#endif

#ifndef ABI
#define ABI LOUPE_ABI
#endif
#ifdef TOO_MANY
#define N_COMPONENTS 4000000000u
#else
#define N_COMPONENTS (sizeof components / sizeof *components)
#endif
#ifdef ABORTS
#define FLAGS LOUPE_ABORTS_ON_PANIC
#else
#define FLAGS 0
#endif

static const LoupePlugin plugin = {
    ABI, sizeof(LoupePlugin), FLAGS, N_COMPONENTS, "hostile", "1.0", components, NULL,
};

#ifdef NO_SYMBOL
#define loupe_plugin another_plugin
#endif
const LoupePlugin *loupe_plugin(void) {
#ifdef NO_DESCRIPTOR
    return NULL;
#endif
    return &plugin;
}
