//! The part of Python's pickle that PyTorch files use, read as data: no name in it is ever called.
//!
//! Values stand in one list and refer to each other by index, so neither a deep nor a self-sharing
//! file can exhaust the stack or the memory: what is built is proportional to the bytes read.

use crate::{CheckpointError, Result, bad_file, globals};

/// Index of a value in its `Pickle`.
pub type Id = u32;

/// One unpickled value.
#[derive(Debug)]
pub enum Value {
    /// None, numbers that no tensor needs, bytes.
    Other,
    Int(i64),
    Text(String),
    /// A class or function: module and name.
    Global(String, String),
    /// Tuples and lists.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// What calling `callable` with `args` would have made, and the state set on it.
    Object {
        callable: Id,
        args: Id,
        state: Option<Id>,
    },
    /// A reference to something outside the pickle (a storage).
    Outside(Id),
}

/// All values of one pickle.
pub struct Pickle {
    values: Vec<Value>,
    pub root: Id,
}

impl Pickle {
    /// Reads one pickle. Errors: if it is damaged, uses what PyTorch does not, or names what no weights need.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let mut machine =
            Machine { rest: bytes, values: Vec::new(), stack: Vec::new(), memo: Vec::new() };
        while machine.step()? {}
        let root = machine.pop()?;
        Ok(Self { values: machine.values, root })
    }

    pub fn get(&self, id: Id) -> &Value {
        self.values.get(id as usize).unwrap_or(&Value::Other)
    }

    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn list(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// A list of whole numbers from 0 up, as shapes and strides are.
    pub fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        let size = |id: &Id| match self.get(*id) {
            Value::Int(size) => usize::try_from(*size).ok(),
            _ => None,
        };
        self.list(id)?.iter().map(size).collect()
    }
}

/// The stack holds values and, between them, marks.
enum Slot {
    Value(Id),
    Mark,
}

struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Slot>,
    memo: Vec<(u32, Id)>,
}

impl Machine<'_> {
    /// Executes one instruction; false after the last.
    fn step(&mut self) -> Result<bool> {
        let opcode = self.byte()?;
        match opcode {
            b'.' => return Ok(false),
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.stack.push(Slot::Mark),
            b'0' => drop(self.stack.pop()),
            b'1' => drop(self.pop_to_mark()?),
            b')' | b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b'N' | 0x88 | 0x89 => self.push(Value::Other),
            b'J' | b'K' | b'M' | 0x8a | b'G' => self.number(opcode)?,
            b'X' | 0x8c | 0x8d | b'T' | b'U' | b'B' | b'C' => self.string(opcode)?,
            b'c' | 0x93 => self.global(opcode)?,
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memo(opcode)?,
            b't' | 0x85..=0x87 | b'l' => self.tuple(opcode)?,
            b'a' | b'e' | b's' | b'u' | b'd' => self.fill(opcode)?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Outside(id));
            }
            b'R' | 0x81 => {
                let (args, callable) = (self.pop()?, self.pop()?);
                let made = self.called(callable, args);
                self.push(made);
            }
            b'b' => self.build()?,
            _ => return Err(damaged(&format!("unknown instruction 0x{opcode:02x}"))),
        }
        Ok(true)
    }

    /// A dictionary under another name stays a dictionary; everything else is kept as it stands.
    fn called(&self, callable: Id, args: Id) -> Value {
        match self.values.get(callable as usize) {
            Some(Value::Global(module, name))
                if module == "collections" && (name == "OrderedDict" || name == "defaultdict") =>
            {
                Value::Dict(Vec::new())
            }
            _ => Value::Object { callable, args, state: None },
        }
    }

    fn number(&mut self, opcode: u8) -> Result<()> {
        let value = match opcode {
            b'K' => Value::Int(i64::from(self.byte()?)),
            b'M' => Value::Int(little_endian(self.take(2)?)),
            b'J' => Value::Int(i64::from(little_endian(self.take(4)?) as i32)),
            0x8a => {
                let n_bytes = usize::from(self.byte()?);
                let bytes = self.take(n_bytes)?;
                let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                if n_bytes > 8 || negative {
                    Value::Other
                } else {
                    Value::Int(little_endian(bytes))
                }
            }
            _ => {
                self.take(8)?;
                Value::Other
            }
        };
        self.push(value);
        Ok(())
    }

    fn string(&mut self, opcode: u8) -> Result<()> {
        let n_bytes = match opcode {
            0x8c | b'U' | b'C' => i64::from(self.byte()?),
            0x8d => little_endian(self.take(8)?),
            _ => little_endian(self.take(4)?),
        };
        let n_bytes = usize::try_from(n_bytes).map_err(|_| damaged("a string has no length"))?;
        let bytes = self.take(n_bytes)?;
        let value = match (opcode, std::str::from_utf8(bytes)) {
            (b'B' | b'C', _) | (_, Err(_)) => Value::Other,
            (_, Ok(text)) => Value::Text(text.to_string()),
        };
        self.push(value);
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Result<()> {
        let (module, name) = if opcode == b'c' {
            (self.line()?, self.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            let text = |id: Id| match self.values.get(id as usize) {
                Some(Value::Text(text)) => Ok(text.clone()),
                _ => Err(damaged("a name is not a string")),
            };
            (text(module)?, text(name)?)
        };
        globals::check(&module, &name)?;
        self.push(Value::Global(module, name));
        Ok(())
    }

    fn memo(&mut self, opcode: u8) -> Result<()> {
        let key = match opcode {
            b'q' | b'h' => u32::from(self.byte()?),
            b'r' | b'j' => little_endian(self.take(4)?) as u32,
            _ => self.memo.len() as u32,
        };
        let found = self.memo.binary_search_by_key(&key, |(key, _)| *key);
        if matches!(opcode, b'h' | b'j') {
            let entry = found.ok().and_then(|at| self.memo.get(at)).copied();
            let (_, id) = entry.ok_or_else(|| damaged("a reference leads nowhere"))?;
            self.stack.push(Slot::Value(id));
            return Ok(());
        }
        let id = match self.stack.last() {
            Some(Slot::Value(id)) => *id,
            _ => return Err(damaged("nothing to remember")),
        };
        match found {
            Ok(at) => drop(self.memo.splice(at..=at, [(key, id)])),
            // PyTorch numbers its entries upwards, so this is an append.
            Err(at) if at == self.memo.len() => self.memo.push((key, id)),
            Err(_) => return Err(damaged("entries are numbered out of order")),
        }
        Ok(())
    }

    fn tuple(&mut self, opcode: u8) -> Result<()> {
        let items = match opcode {
            b't' | b'l' => self.pop_to_mark()?,
            _ => {
                let n_items = usize::from(opcode - 0x84);
                let mut items = (0..n_items).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
                items.reverse();
                items
            }
        };
        self.push(Value::List(items));
        Ok(())
    }

    /// Adds items to the list or dictionary below them.
    fn fill(&mut self, opcode: u8) -> Result<()> {
        let items = match opcode {
            b'a' => vec![self.pop()?],
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            _ => self.pop_to_mark()?,
        };
        if opcode == b'd' {
            self.push(Value::Dict(Vec::new()));
        }
        let target = match self.stack.last() {
            Some(Slot::Value(id)) => self.values.get_mut(*id as usize),
            _ => None,
        };
        match target {
            Some(Value::List(list)) => list.extend(items),
            Some(Value::Dict(dict)) => {
                let pairs = items.chunks_exact(2).filter_map(|pair| match pair {
                    [key, value] => Some((*key, *value)),
                    _ => None,
                });
                dict.extend(pairs);
            }
            // Sets and the like hold no tensors.
            Some(_) => {}
            None => return Err(damaged("items without a list")),
        }
        Ok(())
    }

    fn build(&mut self) -> Result<()> {
        let given = self.pop()?;
        let target = match self.stack.last() {
            Some(Slot::Value(id)) => self.values.get_mut(*id as usize),
            _ => None,
        };
        match target {
            Some(Value::Object { state, .. }) => *state = Some(given),
            // An ordered dictionary's own attributes (`_metadata`).
            Some(_) => {}
            None => return Err(damaged("state without an object")),
        }
        Ok(())
    }

    fn push(&mut self, value: Value) {
        // One value per instruction, and files are read up to 4 GiB of instructions.
        self.stack.push(Slot::Value(self.values.len() as Id));
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id> {
        match self.stack.pop() {
            Some(Slot::Value(id)) => Ok(id),
            _ => Err(damaged("a value is missing")),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        let mut items = Vec::new();
        loop {
            match self.stack.pop() {
                Some(Slot::Value(id)) => items.push(id),
                Some(Slot::Mark) => break,
                None => return Err(damaged("a mark is missing")),
            }
        }
        items.reverse();
        Ok(items)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn line(&mut self) -> Result<String> {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| damaged("it ends within a name"))?;
        let line = self.take(end + 1)?;
        Ok(String::from_utf8_lossy(line).trim_end().to_string())
    }
}

impl<'a> Machine<'a> {
    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(n_bytes).ok_or_else(|| damaged("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }
}

fn little_endian(bytes: &[u8]) -> i64 {
    bytes.iter().rev().fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

fn damaged(problem: &str) -> CheckpointError {
    bad_file(&format!("is a damaged PyTorch file: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_pickle_does_not_exhaust_the_stack() {
        let deep = [&b"\x80\x02)"[..], &[0x85; 1_000_000], b"."].concat();
        let pickle = Pickle::read(&deep).unwrap();
        assert_eq!(pickle.list(pickle.root).map(<[Id]>::len), Some(1));
    }

    /// Every level holds the one before twice: a thousand levels are 2^1000 values if copied.
    #[test]
    fn a_pickle_that_shares_its_values_stays_small() {
        let level = b"q\x00h\x00\x86";
        let shared = [&b"\x80\x02)"[..], &level.repeat(1_000), b"."].concat();
        assert_eq!(Pickle::read(&shared).unwrap().values.len(), 1_001);
    }

    #[test]
    fn a_damaged_pickle_says_where_it_hurts() {
        for (bytes, part) in [
            (&b"\x80\x02"[..], "ends too early"),
            (b"\x80\x02.", "a value is missing"),
            (b"X\xff\xff\xff\xffa.", "ends too early"),
            (b"h\x07.", "leads nowhere"),
            (b"t.", "a mark is missing"),
            (b"cos\nsystem", "ends within a name"),
            (b"\xfe", "unknown instruction 0xfe"),
        ] {
            let message = Pickle::read(bytes).err().unwrap().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
