//! How large what comes from outside may be. Each limit is far above what is of use and far below
//! what hurts.

/// A prompt file. The largest known, WinCLIP's grid with sizes and positions, has 0.6 MB.
pub const MAX_FILE_BYTES: usize = 8 << 20;

/// A prompt cache. Thirty classes with a hundred sentences each are 0.3 MB; the worst text of this
/// size takes 0.24 GB and about a second to refuse.
pub const MAX_CACHE_BYTES: usize = 4 << 20;

/// Sentences of one file, or of one entry of a cache. The largest known file has 8,602; to encode
/// 20,000 takes minutes on a CPU.
pub const MAX_SENTENCES: usize = 20_000;

/// A sentence. CLIP reads 77 tokens, and few of its tokens have more than twelve letters.
pub const MAX_SENTENCE_BYTES: usize = 2_000;

/// A class's name, a model's, a template's.
pub const MAX_NAME_BYTES: usize = 200;

/// Entries of a cache. Looking one up walks through them.
pub const MAX_ENTRIES: usize = 1_000;

/// Names of one class besides its own.
pub const MAX_ALIASES: usize = 50;

/// Sentences of each label that one generator may ask for. A text model gains nothing from more.
pub const MAX_COUNT: u32 = 500;

/// A reply of an endpoint. 32 + 32 sentences are 10 kB.
pub const MAX_REPLY_BYTES: usize = 1 << 20;
