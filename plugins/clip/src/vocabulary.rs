//! The text tower's token table: whole, or short, with one row for all tokens that it does not
//! list.
//!
//! A model that was trained on few words needs few rows. Its file holds, beside
//! `token_embedding.weight [n + 1, c]`, the tensor `token_embedding.ids [n]`: CLIP's ids of the
//! listed tokens, ascending. Row k belongs to the k-th listed token, the last row to every other one, so
//! that a word which training never saw still has an embedding. The whole table that open_clip
//! would load holds the last row once for each token that is not listed. It is never made here:
//! an id is looked up among those listed.

use crate::error::{ClipError, Result};
use crate::tokenizer::{END_OF_TEXT, START_OF_TEXT};

/// Name of a table's rows in open_clip's dialect.
pub const WEIGHT: &str = "token_embedding.weight";
/// Name of the listed ids beside a short table's rows.
pub const IDS: &str = "token_embedding.ids";

/// Embeddings of tokens.
#[derive(Clone, Debug)]
pub struct TokenTable {
    /// `[rows, width]`, row-major.
    rows: Vec<f32>,
    width: usize,
    /// The tokens of all rows but the last; `None` if row k is that of token k.
    ids: Option<Vec<u32>>,
}

impl TokenTable {
    /// A whole table: `rows [vocab, width]`.
    pub fn whole(rows: Vec<f32>, width: usize) -> Self {
        Self { rows, width, ids: None }
    }

    /// A short table: `rows [n + 1, width]` of `n` listed ids.
    /// Errors: `WeightsFile` if the ids are not those of a short table or the rows not as many.
    pub fn short(rows: Vec<f32>, width: usize, ids: Vec<u32>, vocab_size: usize) -> Result<Self> {
        check_ids(&ids, vocab_size)?;
        if width == 0 || rows.len() != (ids.len() + 1) * width {
            return Err(wrong_length(rows.len() / width.max(1), ids.len()));
        }
        Ok(Self { rows, width, ids: Some(ids) })
    }

    /// The embedding of a token; empty for one that lies beyond a whole table.
    pub fn row(&self, token: u32) -> &[f32] {
        let row = match &self.ids {
            None => token as usize,
            Some(ids) => ids.binary_search(&token).unwrap_or(ids.len()),
        };
        let start = row.saturating_mul(self.width);
        self.rows.get(start..start.saturating_add(self.width)).unwrap_or_default()
    }
}

/// Holds the ids of a short table against the rule.
/// Errors: `WeightsFile` naming the first that breaks it.
pub fn check_ids(ids: &[u32], vocab_size: usize) -> Result<()> {
    if let Some([a, b]) = ids.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(wrong(format!("`{IDS}` wants ids that ascend, but {b} stands behind {a}")));
    }
    if let Some(last) = ids.last().filter(|last| **last as usize >= vocab_size) {
        let want = format!("ids below {vocab_size}, the model's vocab_size");
        return Err(wrong(format!("`{IDS}` wants {want}, but lists {last}")));
    }
    let markers = [("start", START_OF_TEXT), ("end", END_OF_TEXT)];
    match markers.iter().find(|(_, id)| ids.binary_search(id).is_err()) {
        None => Ok(()),
        Some((name, id)) => Err(wrong(format!(
            "`{IDS}` does not list {id}, the {name} marker of every sentence; it wants both \
             markers, {START_OF_TEXT} and {END_OF_TEXT}"
        ))),
    }
}

/// The error of a table whose rows are not one more than its ids.
pub fn wrong_length(n_rows: usize, n_ids: usize) -> ClipError {
    wrong(format!(
        "`{WEIGHT}` has {n_rows} rows, but `{IDS}` lists {n_ids} tokens; it wants {} rows, one for \
         each listed token and a last one for all others",
        n_ids + 1
    ))
}

fn wrong(problem: String) -> ClipError {
    ClipError::weights_file(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCAB_SIZE: usize = 49_408;

    fn table(ids: &[u32]) -> Result<TokenTable> {
        let rows = (0..(ids.len() + 1) * 2).map(|i| i as f32).collect();
        TokenTable::short(rows, 2, ids.to_vec(), VOCAB_SIZE)
    }

    #[test]
    fn a_listed_token_has_its_row_and_all_others_the_last() {
        let table = table(&[3, 320, START_OF_TEXT, END_OF_TEXT]).unwrap();
        assert_eq!(table.row(3), [0.0, 1.0]);
        assert_eq!(table.row(320), [2.0, 3.0]);
        assert_eq!(table.row(END_OF_TEXT), [6.0, 7.0]);
        for unknown in [0, 4, 319, 49_405] {
            assert_eq!(table.row(unknown), [8.0, 9.0], "{unknown}");
        }
    }

    #[test]
    fn a_whole_table_has_the_row_of_the_id() {
        let table = TokenTable::whole(vec![0.0, 1.0, 2.0, 3.0], 2);
        assert_eq!(table.row(1), [2.0, 3.0]);
        assert_eq!(table.row(2), [0.0; 0]);
    }

    #[test]
    fn ids_that_are_no_short_vocabulary_are_refused() {
        let cases: [(&[u32], &str); 5] = [
            (&[5, 3, START_OF_TEXT, END_OF_TEXT], "wants ids that ascend, but 3 stands behind 5"),
            (&[5, 5, START_OF_TEXT, END_OF_TEXT], "wants ids that ascend, but 5 stands behind 5"),
            (
                &[START_OF_TEXT, END_OF_TEXT, 49_408],
                "wants ids below 49408, the model's vocab_size",
            ),
            (&[5, END_OF_TEXT], "does not list 49406, the start marker"),
            (&[5, START_OF_TEXT], "does not list 49407, the end marker"),
        ];
        for (ids, want) in cases {
            let message = table(ids).unwrap_err().to_string();
            assert!(message.contains("`token_embedding.ids`"), "{message}");
            assert!(message.contains(want), "{message}");
        }
        let short =
            TokenTable::short(vec![0.0; 4], 2, vec![START_OF_TEXT, END_OF_TEXT], VOCAB_SIZE);
        let message = short.unwrap_err().to_string();
        assert!(
            message.contains("has 2 rows, but `token_embedding.ids` lists 2 tokens; it wants 3")
        );
    }
}
