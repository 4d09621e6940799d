/*
 * The plugin boundary, in plain C. Everything a host and a plugin share crosses here and nowhere
 * else.
 *
 * What is published never changes: structs that may grow carry their size first, arrays of them
 * are arrays of pointers, and whatever comes later is asked for by name through `get_extension`.
 * The C header `include/loupe_plugin.h` is generated from this file and a test compares the two.
 *
 * Ownership: inputs are borrowed for the call; a tensor given to a sink is owned by the host from
 * then on, whether or not the sink accepts it; text, states and messages are copied. Nothing is
 * unwound across the boundary.
 */
#ifndef LOUPE_PLUGIN_H
#define LOUPE_PLUGIN_H

/* Generated from plugins/sdk/src/abi.rs by `cargo run -p loupe-plugin --example header`. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
/*
 * Number of this boundary. It changes only when a published layout changes, never with a release
 * of the engine.
 */
#define LOUPE_ABI 1u
/* Name of the one symbol a plugin exports, of type `LoupeEntry`. */
#define LOUPE_ENTRY_SYMBOL "loupe_plugin"

/*
 * Status of a call. Raw integers cross, because an unknown value of an enum would be undefined
 * behaviour.
 */
#define LOUPE_OK 0
#define LOUPE_ERROR 1
#define LOUPE_BAD_CONFIG 2
#define LOUPE_BAD_INPUT 3
#define LOUPE_PANIC 4
#define LOUPE_UNSUPPORTED 5
#define LOUPE_CANCELLED 6

/* Kinds of value; a port may take several. */
/* One tensor. A component that declares it is mapped by the engine over a list of tensors. */
#define LOUPE_TENSOR 1u
/* An ordered list of tensors, each with its label, handed over whole. */
#define LOUPE_TENSORS 2u
/* Sentences. */
#define LOUPE_TEXT 4u
/* Sentences together with their embeddings `[n, d]`: `sentences` and `tensors[0]` are both set. */
#define LOUPE_EMBEDDED_TEXT 8u
/* What a fit learned, as portable bytes. */
#define LOUPE_STATE 16u

/* Element types a port takes, as a set. */
#define LOUPE_F32 1u
#define LOUPE_F16 2u
#define LOUPE_BF16 4u
#define LOUPE_F64 8u
#define LOUPE_U8 16u
#define LOUPE_I64 32u

/* What a value belongs to. */
#define LOUPE_SCOPE_IMAGE 0u
#define LOUPE_SCOPE_CLASS 1u
#define LOUPE_SCOPE_RUN 2u

/* The verb that reads or writes a port. */
/* `encode_images`, `generate`, `score` or `fuse`. */
#define LOUPE_VERB_RUN 0u
/* What `fit_push` reads. */
#define LOUPE_VERB_FIT 1u
#define LOUPE_VERB_ENCODE_TEXT 2u
/* What a stepped pass reads and writes between two taps. */
#define LOUPE_VERB_TAP 3u
#define LOUPE_IN 0u
#define LOUPE_OUT 1u

/* Flags of a port. */
#define LOUPE_PORT_OPTIONAL 1u
/*
 * The port takes several values. One value that is a list of tensors is folded: its tensors are
 * the values. Several values that are lists with equal labels are mapped label by label.
 */
#define LOUPE_PORT_MANY 2u

/* What a component declares of itself, tested by the conformance suite. */
#define LOUPE_DETERMINISTIC 1u
#define LOUPE_BATCH_INVARIANT 2u
/*
 * Verbs may be called on one instance from several threads at once; without it they follow one
 * another. An instance may be used on another thread than the one that made it in either case.
 */
#define LOUPE_THREAD_SAFE 4u

/* Where a component computes, as a set. */
#define LOUPE_CPU 1u
#define LOUPE_CUDA 2u

/* Flags of a plugin. */
/*
 * The plugin was built with `panic = "abort"`: a panic in it would end the host, so the host
 * refuses it.
 */
#define LOUPE_ABORTS_ON_PANIC 1u
#define LOUPE_LOG_ERROR 1u
#define LOUPE_LOG_WARN 2u
#define LOUPE_LOG_INFO 3u
#define LOUPE_LOG_DEBUG 4u

/* DLPack 1.x, laid out as in dlpack.h. */
#define DL_CPU 1
#define DL_CUDA 2
#define DL_INT 0
#define DL_UINT 1
#define DL_FLOAT 2
#define DL_BFLOAT 4
#define DL_FLAG_READ_ONLY 1ull
/* Id of `LoupeKeep`. */
#define LOUPE_EXT_KEEP "loupe.keep/1"
/* Id of `LoupeFit`. */
#define LOUPE_EXT_FIT "loupe.fit/1"
/* Id of `LoupeTaps`. */
#define LOUPE_EXT_TAPS "loupe.taps/1"
/* Id of `LoupeBackward`. */
#define LOUPE_EXT_BACKWARD "loupe.taps.backward/1"
/* Id of `LoupeTrain`. */
#define LOUPE_EXT_TRAIN "loupe.train/1"
/* Id of `LoupeTool`. */
#define LOUPE_EXT_TOOL "loupe.prompts.tool/1"

#ifndef DLPACK_DLPACK_H_

typedef struct DLDevice DLDevice;
typedef struct DLDataType DLDataType;
typedef struct DLTensor DLTensor;
typedef struct DLPackVersion DLPackVersion;
typedef struct DLManagedTensorVersioned DLManagedTensorVersioned;

struct DLDevice {
    int32_t device_type;
    int32_t device_id;
};

struct DLDataType {
    uint8_t code;
    uint8_t bits;
    uint16_t lanes;
};

/* `strides` may be null (row-major); `data` is not promised to be aligned. */
struct DLTensor {
    void *data;
    DLDevice device;
    int32_t ndim;
    DLDataType dtype;
    int64_t *shape;
    int64_t *strides;
    uint64_t byte_offset;
};

struct DLPackVersion {
    uint32_t major;
    uint32_t minor;
};

struct DLManagedTensorVersioned {
    DLPackVersion version;
    void *manager_ctx;
    void (*deleter)(DLManagedTensorVersioned *tensor);
    uint64_t flags;
    DLTensor dl_tensor;
};
#endif

typedef struct LoupeStr LoupeStr;
typedef struct LoupeBytes LoupeBytes;
typedef struct LoupeLabel LoupeLabel;
typedef struct LoupeTensor LoupeTensor;
typedef struct LoupeSentence LoupeSentence;
typedef struct LoupeState LoupeState;
typedef struct LoupeValue LoupeValue;
typedef struct LoupeInput LoupeInput;
typedef struct LoupeError LoupeError;
typedef struct LoupeKeep LoupeKeep;
typedef struct LoupeSink LoupeSink;
typedef struct LoupeCall LoupeCall;
typedef struct LoupeHost LoupeHost;
typedef struct LoupePort LoupePort;
typedef struct LoupeVerbs LoupeVerbs;
typedef struct LoupeComponent LoupeComponent;
typedef struct LoupePlugin LoupePlugin;
typedef struct LoupeFit LoupeFit;
typedef struct LoupeTaps LoupeTaps;
typedef struct LoupeBackward LoupeBackward;
typedef struct LoupeTrain LoupeTrain;
typedef struct LoupeTool LoupeTool;

/* UTF-8 text, not NUL-terminated. */
struct LoupeStr {
    const char *data;
    size_t len;
};

struct LoupeBytes {
    const uint8_t *data;
    size_t len;
};

/*
 * Which tensor of a list this is: the image size it was made at, the tap it was read from, or
 * both; -1 for neither.
 */
struct LoupeLabel {
    int32_t size;
    int32_t tap;
};

struct LoupeTensor {
    LoupeLabel label;
    DLTensor dl;
};

struct LoupeSentence {
    LoupeStr text;
    /* 0 normal, 1 anomalous. */
    int32_t anomalous;
    float weight;
    /* Where the sentence comes from: the name of a set, a cache, a file. */
    LoupeStr source;
};

/* Bytes made by the component that reads them. `schema` and `revision` tell their layout. */
struct LoupeState {
    LoupeStr schema;
    uint32_t revision;
    uint32_t reserved;
    LoupeBytes bytes;
};

/* One value of one of the kinds above; what its kind does not use is null. */
struct LoupeValue {
    uint32_t kind;
    uint32_t reserved;
    size_t n_tensors;
    const LoupeTensor *tensors;
    size_t n_sentences;
    const LoupeSentence *sentences;
    const LoupeState *state;
};

/* One value given to a port. A port that takes many has several of these, in order. */
struct LoupeInput {
    /* Index into the component's ports. */
    uint32_t port;
    uint32_t reserved;
    LoupeValue value;
};

/* A message in the caller's memory, so that no allocation crosses. */
struct LoupeError {
    uint32_t len;
    uint8_t text[1020];
};

/*
 * Extension of a host that keeps a component's bytes from run to run, such as weights in the form that
 * this CPU computes with; absent where nothing is kept. What is kept has a label and a config, JSON
 * that says everything the bytes depend on. The host adds what it knows better: the plugin, the CPU's
 * arithmetic and, in the place of a string that is a file of the stage's own config, the file's
 * content. `ctx` is the host's; all functions may be called from any thread.
 */
struct LoupeKeep {
    uint32_t size;
    uint32_t reserved;
    /*
     * Sets `kept` to a number for `read`, valid until `end`, or to 0 if there is nothing whole, and
     * `len` to how many bytes there are.
     */
    void (*find)(void *ctx, LoupeStr label, LoupeStr config, uint64_t *kept, uint64_t *len);
    /* Copies `n` bytes from `offset` on. */
    int32_t (*read)(void *ctx, uint64_t kept, uint64_t offset, uint8_t *to, size_t n, LoupeError *error);
    void (*end)(void *ctx, uint64_t kept);
    /* Keeps parts as one, one behind the other. Where this fails nothing is lost but time. */
    int32_t (*keep)(void *ctx, LoupeStr label, LoupeStr config, size_t n_parts, const LoupeBytes *parts, LoupeError *error);
};

/*
 * Where a call puts what it made. Every function copies or takes ownership at once and returns a
 * status.
 */
struct LoupeSink {
    uint32_t size;
    uint32_t reserved;
    void *ctx;
    /*
     * `label` tells the tensors of a list apart; for a single tensor it is {-1, -1}. Where the host maps
     * the component over a list, the host's own label stands.
     */
    int32_t (*put_tensor)(void *ctx, uint32_t port, LoupeLabel label, DLManagedTensorVersioned *tensor);
    int32_t (*put_text)(void *ctx, uint32_t port, const LoupeSentence *sentences, size_t n_sentences);
    int32_t (*put_state)(void *ctx, const LoupeState *state);
    /* Facts, as one JSON object. */
    int32_t (*put_json)(void *ctx, LoupeStr json);
};

/* What a verb is given. */
struct LoupeCall {
    uint32_t size;
    uint32_t n_inputs;
    const LoupeInput *inputs;
    /* Bit i: the output port with index i is read by somebody. What nobody reads need not be made. */
    uint64_t wanted;
    const LoupeSink *sink;
    /* The CUDA stream to enqueue on; null on the CPU. */
    void *stream;
};

/* Services of the host. It outlives every instance made with it. */
struct LoupeHost {
    uint32_t abi;
    uint32_t size;
    void *ctx;
    void (*log)(void *ctx, uint32_t level, LoupeStr text);
    /* `total` 0: unknown. */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    /* Not 0: the user wants to stop; return `LOUPE_CANCELLED` soon. */
    int32_t (*cancelled)(void *ctx);
    /* Threads this component may use in all. */
    uint32_t (*n_threads)(void *ctx);
    /*
     * Calls `body(arg, i)` for each i below n on the host's threads and returns when all are done.
     * `body` must not unwind.
     */
    void (*parallel_for)(void *ctx, size_t n, void (*body)(void *arg, size_t i), void *arg);
    /*
     * Fills `out` from a stream seeded by the run's seed and the stage's name: the same run draws
     * the same numbers. A component that uses it does not declare `LOUPE_DETERMINISTIC`.
     */
    void (*random)(void *ctx, uint64_t *out, size_t n);
    /*
     * Read-only bytes of a file named by a config key of format `loupe-file`; they live as long as
     * the host.
     */
    int32_t (*open)(void *ctx, LoupeStr path, LoupeBytes *out, LoupeError *error);
    const void *(*get_extension)(void *ctx, const char *id);
};

/*
 * One input or output of a component. Every component has an output of verb `LOUPE_VERB_RUN`.
 * The host feeds some inputs by their names: `class` of prompts (the class's name, then its
 * synonyms), `image` of an encoder, `stream` of what stands between two taps.
 */
struct LoupePort {
    uint32_t size;
    uint32_t verb;
    uint32_t direction;
    uint32_t kind;
    uint32_t dtype;
    uint32_t scope;
    uint32_t flags;
    uint32_t reserved;
    const char *name;
    /*
     * Names of dimensions separated by spaces, a number where fixed, `...` for any leading ones:
     * `b gh gw d`. Null where the kind has no shape.
     */
    const char *shape;
    const char *about;
};

/* The verbs every kind has. `encode_text` is null but for encoders that take text. */
struct LoupeVerbs {
    uint32_t size;
    uint32_t reserved;
    int32_t (*run)(void *instance, const LoupeCall *call, LoupeError *error);
    int32_t (*encode_text)(void *instance, const LoupeCall *call, LoupeError *error);
};

/* One component: a kind, a name, a schema, ports and verbs. */
struct LoupeComponent {
    uint32_t size;
    /* Raised whenever the outputs for the same inputs change; 0 while under development. */
    uint32_t revision;
    uint32_t flags;
    uint32_t devices;
    /* `loupe.encoder/1`, `loupe.prompts/1`, `loupe.scorer/1` or `loupe.fusion/1`. */
    const char *kind;
    const char *name;
    const char *about;
    /*
     * JSON Schema of the config, an object. Of the keywords these are understood: `type`
     * (`object array string number integer boolean`), `description`, `default`, `properties`,
     * `required`, `additionalProperties`, `enum`, `items`, `minItems`, `maxItems`, `minimum`,
     * `maximum`, `exclusiveMinimum`, `anyOf`, `format` (`loupe-file` for a file the host opens)
     * and beside it `x-names` (strings that are no files).
     */
    const char *config_schema;
    uint32_t n_ports;
    uint32_t reserved;
    const LoupePort *const *ports;
    const LoupeVerbs *verbs;
    /*
     * `config` is a JSON object that the engine has checked against the schema; it lives for the
     * call, `host` for as long as the instance.
     */
    int32_t (*create)(const LoupeHost *host, LoupeStr config, void **instance, LoupeError *error);
    void (*destroy)(void *instance);
    /*
     * Judges what a schema cannot and puts facts as JSON, without reading weights: `{"dims": {"d":
     * 640, "patch": 16}, "taps": [1, 2]}`; `patch` is an encoder's pixels per patch. `"learns":
     * {"from": ["rows"], "instead": "name a file as `weights`"}` names ports of the fit without
     * which there is nothing to run with, and what does instead. `"precision": "bf16"` is what a
     * key `precision` became, and stands for it in the keys of the cache. May be null.
     */
    int32_t (*check)(const LoupeHost *host, LoupeStr config, const LoupeSink *sink, LoupeError *error);
    /* May be null. The result lives as long as the plugin. */
    const void *(*get_extension)(const char *id);
};

/* The descriptor behind the one symbol. */
struct LoupePlugin {
    /* `LOUPE_ABI`. First for ever, so that any host can refuse any plugin in words. */
    uint32_t abi;
    uint32_t size;
    uint32_t flags;
    uint32_t n_components;
    const char *name;
    const char *version;
    const LoupeComponent *const *components;
    const void *(*get_extension)(const char *id);
};

/* Extension of a component that learns something before it runs. Several fits may be open at once. */
struct LoupeFit {
    uint32_t size;
    uint32_t reserved;
    int32_t (*fit_open)(void *instance, void **fit, LoupeError *error);
    /* Called as often as needed, with the ports of verb `LOUPE_VERB_FIT`, in a stable order. */
    int32_t (*fit_push)(void *fit, const LoupeCall *call, LoupeError *error);
    /* Puts one state. `fit_drop` still follows. */
    int32_t (*fit_close)(void *fit, const LoupeSink *sink, LoupeError *error);
    void (*fit_drop)(void *fit);
    /* A new instance with the state in it, ended with `destroy`; `instance` stays usable. */
    int32_t (*load)(void *instance, const LoupeState *state, void **loaded, LoupeError *error);
};

/*
 * Extension of an encoder that can be stepped from tap to tap. Streams are `[b, n_prefix + gh*gw,
 * c]`, f32, in the port `stream` of verb `LOUPE_VERB_TAP`; between two steps the caller may
 * rewrite them.
 */
struct LoupeTaps {
    uint32_t size;
    uint32_t reserved;
    /* Runs the images to the first tap and puts its stream. `taps` ascend. */
    int32_t (*open)(void *instance, const int32_t *taps, size_t n_taps, int32_t train, const LoupeCall *call, void **session, LoupeError *error);
    /*
     * Opens at taps[0] with the stream that an earlier pass gave there, given in the port `stream`
     * with the image.
     */
    int32_t (*open_at)(void *instance, const int32_t *taps, size_t n_taps, int32_t train, const LoupeCall *call, void **session, LoupeError *error);
    /* Takes the stream of the current tap and puts the stream of the next. */
    int32_t (*resume)(void *session, const LoupeCall *call, LoupeError *error);
    /* Takes the stream of the last tap and puts the encoder's wanted outputs. */
    int32_t (*finish)(void *session, const LoupeCall *call, LoupeError *error);
    void (*drop)(void *session);
};

/*
 * Extension of an encoder with `loupe.taps/1` whose steps can be walked back; its parameters stay as
 * they are.
 */
struct LoupeBackward {
    uint32_t size;
    uint32_t reserved;
    /*
     * In the port `stream`, takes the cotangent of the stream that `resume` number `segment` of this
     * session put (from 0) and puts that of the stream it took. The session was opened with `train`;
     * each segment is asked for once, from the last to the first.
     */
    int32_t (*backward)(void *session, uint32_t segment, const LoupeCall *call, LoupeError *error);
};

/*
 * Extension of a fusion that learns by gradients. The host owns the parameters, changes them between
 * calls and lends them; a state of parameters or gradients is a safetensors file of f32 arrays, whose
 * names begin with that of a head and `_` where one belongs to a head (`seg_adapters.0.weight`).
 */
struct LoupeTrain {
    uint32_t size;
    uint32_t reserved;
    /*
     * Puts the parameters to begin with, as a state. The call is that of one `run`, for its sizes;
     * between taps, that of the first tap.
     */
    int32_t (*parameters)(void *instance, const LoupeCall *call, LoupeError *error);
    /*
     * As `run`, with the lent parameters in the place of its own. The tape keeps what `backward`
     * needs; the parameters need not live longer than the call.
     */
    int32_t (*forward)(void *instance, const LoupeState *parameters, const LoupeCall *call, void **tape, LoupeError *error);
    /*
     * Here the ports change sides: what is given are cotangents of outputs, those left out are zero;
     * what is put are the cotangents of the inputs that are wanted. Beside them one state is put: the
     * gradients of parameters, as far as they got one. A tape goes back once; `tape_drop` still follows.
     */
    int32_t (*backward)(void *tape, const LoupeCall *call, LoupeError *error);
    void (*tape_drop)(void *tape);
};

/*
 * Extension of a prompt generator that reads and writes prompt caches, and makes the requests that
 * fill them. It opens no file and sends nothing: texts and replies stand in the questions. The
 * generators of a plugin share one tool.
 */
struct LoupeTool {
    uint32_t size;
    uint32_t reserved;
    /*
     * Takes a question, a JSON object whose `do` says what is wanted, and puts the answer, a JSON
     * object. May be called from several threads at once.
     */
    int32_t (*answer)(LoupeStr question, const LoupeSink *sink, LoupeError *error);
};

/* The one symbol of a plugin. */
const LoupePlugin *loupe_plugin(void);

#ifdef __cplusplus
}
#endif

#endif
