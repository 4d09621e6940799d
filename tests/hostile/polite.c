/* What hostile.c has no room for, done right: a scorer that learns (the count and sum of what it
 * saw), an encoder that is stepped and takes text, prompts, and every service of the host. */
#include <stdlib.h>
#include <string.h>

#include "loupe_plugin.h"

typedef struct {
    const LoupeHost *host;
    float sum;
    float count;
} Self;

static int fail(LoupeError *error, const char *message) {
    error->len = (uint32_t)strlen(message);
    memcpy(error->text, message, error->len);
    return LOUPE_BAD_INPUT;
}

typedef struct {
    DLManagedTensorVersioned managed;
    int64_t shape[4];
    float data[];
} Owned;

static void delete_owned(DLManagedTensorVersioned *tensor) { free(tensor->manager_ctx); }

static size_t count(const DLTensor *tensor) {
    size_t n = 1;
    for (int i = 0; i < tensor->ndim; i++) n *= (size_t)tensor->shape[i];
    return n;
}

static Owned *make(int ndim, const int64_t *shape) {
    DLTensor tensor = {NULL, {DL_CPU, 0}, ndim, {DL_FLOAT, 32, 1}, (int64_t *)shape, NULL, 0};
    Owned *owned = calloc(1, sizeof *owned + count(&tensor) * sizeof(float));
    memcpy(owned->shape, shape, (size_t)ndim * sizeof *shape);
    tensor.shape = owned->shape;
    tensor.data = owned->data;
    owned->managed = (DLManagedTensorVersioned){{1, 0}, owned, delete_owned, 0, tensor};
    return owned;
}

static int put(const LoupeCall *call, uint32_t port, int32_t tap, Owned *owned) {
    LoupeLabel label = {-1, tap};
    return call->sink->put_tensor(call->sink->ctx, port, label, &owned->managed);
}

static const DLTensor *input(const LoupeCall *call, uint32_t port) {
    for (uint32_t i = 0; i < call->n_inputs; i++)
        if (call->inputs[i].port == port) return &call->inputs[i].value.tensors[0].dl;
    return NULL;
}

static int create(const LoupeHost *host, LoupeStr config, void **instance, LoupeError *error) {
    (void)config, (void)error;
    Self *self = calloc(1, sizeof *self);
    self->host = host;
    *instance = self;
    return LOUPE_OK;
}

static void destroy(void *instance) { free(instance); }

/* Scorer `counter`: ports 0 `patches` (run), 1 `patches` (fit), 2 `scores`. */

static int score(void *instance, const LoupeCall *call, LoupeError *error) {
    Self *self = instance;
    const DLTensor *patches = input(call, 0);
    if (self->count == 0) return fail(error, "nothing was learned yet");
    Owned *scores = make(2, patches->shape);
    for (size_t i = 0; i < count(patches); i++)
        scores->data[i] = ((float *)patches->data)[i] - self->sum / self->count;
    return put(call, 2, -1, scores);
}

static int fit_open(void *instance, void **fit, LoupeError *error) {
    (void)instance, (void)error;
    *fit = calloc(1, sizeof(Self));
    return LOUPE_OK;
}

static int fit_push(void *fit, const LoupeCall *call, LoupeError *error) {
    (void)error;
    Self *self = fit;
    const DLTensor *patches = input(call, 1);
    for (size_t i = 0; i < count(patches); i++) self->sum += ((float *)patches->data)[i];
    self->count += (float)count(patches);
    return LOUPE_OK;
}

static int fit_close(void *fit, const LoupeSink *sink, LoupeError *error) {
    (void)error;
    Self *self = fit;
    float numbers[2] = {self->sum, self->count};
    LoupeState state = {{"counter", 7}, 3, 0, {(const uint8_t *)numbers, sizeof numbers}};
    return sink->put_state(sink->ctx, &state);
}

static int load(void *instance, const LoupeState *state, void **loaded, LoupeError *error) {
    if (state->revision != 3 || state->bytes.len != 8) return fail(error, "this state is not mine");
    Self *self = calloc(1, sizeof *self);
    self->host = ((Self *)instance)->host;
    memcpy(&self->sum, state->bytes.data, 4);
    memcpy(&self->count, state->bytes.data + 4, 4);
    *loaded = self;
    return LOUPE_OK;
}

static const LoupeFit fit = {sizeof fit, 0, fit_open, fit_push, fit_close, free, load};

/* Encoder `steps`: each tap adds its number to the stream. Ports 0 `image`, 1 `tokens` (labelled by
 * tap), 2 and 3 `stream` (in, out), 4 `text`, 5 `text_embeddings`, 6 `services`. */

typedef struct {
    int32_t taps[8];
    size_t at;
} Pass;

static Owned *add(const DLTensor *from, float number) {
    Owned *made = make(3, from->shape);
    for (size_t i = 0; i < count(from); i++) made->data[i] = ((float *)from->data)[i] + number;
    return made;
}

static Pass *pass(const int32_t *taps, size_t n_taps) {
    Pass *made = calloc(1, sizeof *made);
    memcpy(made->taps, taps, (n_taps < 8 ? n_taps : 8) * sizeof *taps);
    return made;
}

static int open(void *i, const int32_t *taps, size_t n, int32_t train, const LoupeCall *call,
                void **session, LoupeError *e) {
    (void)i, (void)train, (void)e;
    *session = pass(taps, n);
    return put(call, 3, -1, add(input(call, 0), (float)taps[0]));
}

static int open_at(void *i, const int32_t *taps, size_t n, int32_t train, const LoupeCall *call,
                   void **session, LoupeError *e) {
    (void)i, (void)train;
    if (!input(call, 2)) return fail(e, "no stream");
    *session = pass(taps, n);
    return LOUPE_OK;
}

static int resume(void *session, const LoupeCall *call, LoupeError *error) {
    (void)error;
    Pass *self = session;
    self->at += 1;
    return put(call, 3, -1, add(input(call, 2), (float)self->taps[self->at]));
}

static int finish(void *session, const LoupeCall *call, LoupeError *error) {
    (void)error;
    return put(call, 1, ((Pass *)session)->taps[((Pass *)session)->at], add(input(call, 2), 0));
}

static const LoupeTaps taps = {sizeof taps, 0, open, open_at, resume, finish, free};

static void square(void *arg, size_t i) { ((float *)arg)[i] = (float)(i * i); }

/* What the host's services gave: squares made on its threads, the status of a file that the config
 * does not name, a random number, threads, cancelled or extended. */
static int services(const Self *self, const LoupeCall *call) {
    const LoupeHost *host = self->host;
    int64_t shape[1] = {8};
    Owned *made = make(1, shape);
    host->parallel_for(host->ctx, 4, square, made->data);
    LoupeBytes bytes = {NULL, 0};
    LoupeError error = {0, {0}};
    LoupeStr path = {"/etc/shadow", 11};
    made->data[4] = (float)host->open(host->ctx, path, &bytes, &error);
    host->log(host->ctx, LOUPE_LOG_WARN, (LoupeStr){(const char *)error.text, error.len});
    uint64_t words[2];
    host->random(host->ctx, words, 2);
    made->data[5] = (float)(words[0] >> 40);
    made->data[6] = (float)host->n_threads(host->ctx);
    int extended = host->get_extension(host->ctx, "x") != NULL;
    made->data[7] = (float)(host->cancelled(host->ctx) + extended);
    host->progress(host->ctx, 3, 0);
    return put(call, 6, -1, made);
}

static int encode(void *instance, const LoupeCall *call, LoupeError *error) {
    (void)error;
    if (call->wanted & 1 << 6) services(instance, call);
    if (!(call->wanted & 1 << 1)) return LOUPE_OK;
    put(call, 1, 1, add(input(call, 0), 1));
    return put(call, 1, 2, add(input(call, 0), 2));
}

static int encode_text(void *instance, const LoupeCall *call, LoupeError *error) {
    (void)instance, (void)error;
    const LoupeValue *text = &call->inputs[0].value;
    int64_t shape[2] = {(int64_t)text->n_sentences, 2};
    Owned *made = make(2, shape);
    for (size_t i = 0; i < text->n_sentences; i++) {
        made->data[2 * i] = (float)text->sentences[i].text.len;
        made->data[2 * i + 1] = (float)text->sentences[i].anomalous;
    }
    return put(call, 5, -1, made);
}

/* Prompts `echo`: ports 0 `given` (embedded text), 1 `learned` (state), 2 `sentences`: what it is
 * given, each weight multiplied by its embedding, from the schema of the state. */
static int generate(void *instance, const LoupeCall *call, LoupeError *error) {
    (void)instance, (void)error;
    const LoupeValue *given = &call->inputs[0].value;
    const LoupeState *state = call->inputs[1].value.state;
    LoupeSentence made[4];
    for (size_t i = 0; i < given->n_sentences && i < 4; i++) {
        made[i] = given->sentences[i];
        made[i].weight *= ((float *)given->tensors[0].dl.data)[i];
        made[i].source = state->schema;
    }
    return call->sink->put_text(call->sink->ctx, 2, made, given->n_sentences);
}

static int check(const LoupeHost *host, LoupeStr config, const LoupeSink *sink, LoupeError *error) {
    (void)host;
    if (memchr(config.data, '!', config.len)) {
        fail(error, "`!` is not a width");
        return LOUPE_BAD_CONFIG;
    }
    const char *facts = "{\"dims\": {\"d\": 2}, \"taps\": [1, 2], \"more\": true}";
    return sink->put_json(sink->ctx, (LoupeStr){facts, strlen(facts)});
}

#define IN LOUPE_IN
#define OUT LOUPE_OUT
#define PORT(id, verb, way, kind, name, shape) \
    static const LoupePort id = {sizeof(LoupePort), LOUPE_VERB_##verb, way, kind, LOUPE_F32,       \
                                 LOUPE_SCOPE_IMAGE, 0, 0, name, shape, "A port."}

PORT(patches, RUN, IN, LOUPE_TENSOR, "patches", "b n");
PORT(seen, FIT, IN, LOUPE_TENSOR, "patches", "b n");
PORT(scores, RUN, OUT, LOUPE_TENSOR, "scores", "b n");
PORT(image, RUN, IN, LOUPE_TENSOR, "image", "b h w");
PORT(tokens, RUN, OUT, LOUPE_TENSORS, "tokens", "b h w");
PORT(stream_in, TAP, IN, LOUPE_TENSOR, "stream", "b t c");
PORT(stream_out, TAP, OUT, LOUPE_TENSOR, "stream", "b t c");
PORT(text, ENCODE_TEXT, IN, LOUPE_TEXT, "text", NULL);
PORT(embeddings, ENCODE_TEXT, OUT, LOUPE_TENSOR, "text_embeddings", "n d");
PORT(given, RUN, IN, LOUPE_EMBEDDED_TEXT, "given", "n d");
PORT(learned, RUN, IN, LOUPE_STATE, "learned", NULL);
PORT(sentences, RUN, OUT, LOUPE_TEXT, "sentences", NULL);
PORT(told, RUN, OUT, LOUPE_TENSOR, "services", "8");

static const LoupePort *const scorer_ports[] = {&patches, &seen, &scores};
static const LoupePort *const encoder_ports[] = {&image, &tokens, &stream_in, &stream_out,
                                                 &text, &embeddings, &told};
static const LoupePort *const prompts_ports[] = {&given, &learned, &sentences};
static const LoupeVerbs prompts_verbs = {sizeof(LoupeVerbs), 0, generate, NULL};
static const LoupeVerbs scorer_verbs = {sizeof(LoupeVerbs), 0, score, NULL};
static const LoupeVerbs encoder_verbs = {sizeof(LoupeVerbs), 0, encode, encode_text};

static const void *scorer_extension(const char *id) {
    return strcmp(id, LOUPE_EXT_FIT) ? NULL : &fit;
}

static const void *encoder_extension(const char *id) {
    return strcmp(id, LOUPE_EXT_TAPS) ? NULL : &taps;
}

/* Tool of `echo`: gives a question back, or what is no answer where the question says so. */

static int answer(LoupeStr question, const LoupeSink *sink, LoupeError *error) {
    char text[256];
    if (question.len > 200) return fail(error, "this question is too long");
    memcpy(text, "{\"asked\": ", 10);
    memcpy(text + 10, question.data, question.len);
    memcpy(text + 10 + question.len, "}", 1);
    text[11 + question.len] = 0;
    if (strstr(text, "silence")) return LOUPE_OK;
    LoupeStr json = {text, 11 + question.len};
    if (strstr(text, "list")) json = (LoupeStr){"[]", 2};
    if (strstr(text, "twice")) sink->put_json(sink->ctx, json);
    return sink->put_json(sink->ctx, json);
}

static const LoupeTool tool = {sizeof tool, 0, answer};

static const void *prompts_extension(const char *id) {
    return strcmp(id, LOUPE_EXT_TOOL) ? NULL : &tool;
}

#define SCHEMA "{\"type\": \"object\"}"

static const LoupeComponent scorer = {
    sizeof scorer, 1, LOUPE_DETERMINISTIC, LOUPE_CPU, "loupe.scorer/1", "counter", "Counts.",
    SCHEMA, 3, 0, scorer_ports, &scorer_verbs, create, destroy, NULL, scorer_extension,
};
static const LoupeComponent encoder = {
    sizeof encoder, 1, LOUPE_THREAD_SAFE, LOUPE_CPU, "loupe.encoder/1", "steps", "Steps.",
    SCHEMA, 7, 0, encoder_ports, &encoder_verbs, create, destroy, check, encoder_extension,
};
static const LoupeComponent prompts = {
    sizeof prompts, 1, LOUPE_DETERMINISTIC, LOUPE_CPU, "loupe.prompts/1", "echo", "Echoes.",
    SCHEMA, 3, 0, prompts_ports, &prompts_verbs, create, destroy, NULL, prompts_extension,
};
static const LoupeComponent *const components[] = {&scorer, &encoder, &prompts};
static const LoupePlugin plugin = {
    LOUPE_ABI, sizeof plugin, 0, 3, "polite", "1.0", components, NULL,
};

const LoupePlugin *loupe_plugin(void) { return &plugin; }
