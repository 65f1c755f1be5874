//! Pickles as PyTorch writes them, read as data: nothing that they name is looked up or called.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// A tensor as a pickle describes it: a view of a storage that lies elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorRef {
    /// The storage's name.
    pub storage: Rc<str>,
    /// The storage's class, `FloatStorage`.
    pub class: Rc<str>,
    /// First value of the view within the storage.
    pub offset: u64,
    /// Shape.
    pub shape: Vec<u64>,
    /// Values from one position of an axis to the next.
    pub strides: Vec<u64>,
}

/// What a pickle holds for us.
#[derive(Debug, Default)]
pub(super) struct Pickled {
    /// The tensors of its state dict, in order.
    pub tensors: Vec<(String, TensorRef)>,
    /// Texts and numbers at its top: `epoch`, `global_step`.
    pub facts: BTreeMap<String, String>,
}

/// Most objects that are visited below the top: shared dicts could otherwise unfold without end.
const VISITED_MAX: usize = 1_000_000;

/// Deepest nesting of dicts.
const DEPTH_MAX: usize = 32;

/// Most objects of a pickle.
const OBJECTS_MAX: usize = 8_000_000;

/// Longest key of a tensor, in bytes.
const KEY_MAX: usize = 1024;

/// Longest text at the top that is told.
const FACT_MAX: usize = 200;

/// Most axes of a tensor, which is libtorch's own limit.
const AXES_MAX: usize = 64;

/// Reads a pickle.
///
/// The tensors are those of `state_dict` where the top is a dict that has one, else all in it and in the dicts within,
/// their keys joined by dots.
///
/// # Errors
/// What is wrong and at which byte, or which tensor is of a kind that cannot be read.
pub(super) fn read(bytes: &[u8]) -> Result<Pickled, String> {
    let mut machine = Machine {
        input: bytes,
        at: 0,
        objects: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let top = machine.run().map_err(|reason| format!("pickle, byte {}: {reason}", machine.at))?;
    let mut pickled = Pickled::default();
    let Object::Dict(items) = &machine.objects[top] else {
        return Err(format!("it holds {} where a dict of tensors is wanted", machine.objects[top].name()));
    };
    for (key, value) in items {
        if let (Object::Text(key), Some(fact)) = (&machine.objects[*key], machine.objects[*value].fact())
            && key.len() <= KEY_MAX
        {
            pickled.facts.insert(key.to_string(), fact);
        }
    }
    let text = |id: Id| matches!(&machine.objects[id], Object::Text(key) if **key == *"state_dict");
    let inner = items.iter().find(|(key, value)| text(*key) && matches!(machine.objects[*value], Object::Dict(_)));
    let mut left = VISITED_MAX;
    machine.collect(inner.map_or(top, |(_, dict)| *dict), "", 0, &mut left, &mut pickled.tensors)?;
    Ok(pickled)
}

/// Place of an object among all.
type Id = usize;

#[derive(Debug)]
enum Object {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function, by module and name.
    Global(Rc<str>, Rc<str>),
    Storage {
        class: Rc<str>,
        key: Rc<str>,
    },
    Tensor(TensorRef),
    /// A tensor of a kind that is not read, by what it is built with.
    Unreadable(String),
    /// Anything else.
    Opaque,
}

impl Object {
    fn name(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) | Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) | Self::Tuple(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Global(..) => "a class",
            Self::Storage { .. } => "a storage",
            Self::Tensor(_) | Self::Unreadable(_) => "a tensor",
            Self::Opaque => "a Python object",
        }
    }

    fn fact(&self) -> Option<String> {
        match self {
            Self::Bool(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::Float(value) => Some(value.to_string()),
            Self::Text(value) if value.len() <= FACT_MAX => Some(value.to_string()),
            _ => None,
        }
    }
}

/// The pickle machine: a stack of objects, and a memo of those that come again.
///
/// Each opcode makes at most one object and no more bytes than it reads (texts that come again are shared), so memory is
/// bounded by the pickle's size and the number of objects.
struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    objects: Vec<Object>,
    stack: Vec<Id>,
    /// Heights of the stack at marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

type Step<T> = Result<T, String>;

impl Machine<'_> {
    fn run(&mut self) -> Step<Id> {
        loop {
            let code = self.bytes(1)?[0];
            if code == b'.' {
                return self.pop();
            }
            self.step(code)?;
            if self.objects.len() > OBJECTS_MAX {
                return Err(format!("it holds more than {OBJECTS_MAX} objects"));
            }
        }
    }

    fn step(&mut self, code: u8) -> Step<()> {
        match code {
            0x80 => drop(self.bytes(1)?),
            0x95 => drop(self.bytes(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = *self.stack.last().ok_or("the stack is empty")?;
                self.stack.push(top);
            }
            b'N' => self.push(Object::None),
            0x88 => self.push(Object::Bool(true)),
            0x89 => self.push(Object::Bool(false)),
            b'J' | b'K' | b'M' | 0x8a | b'G' => self.number(code)?,
            b'X' | 0x8c | 0x8d | b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 => self.text(code)?,
            b']' | b')' | b'}' | 0x8f | b't' | b'l' | b'd' | 0x91 | 0x85..=0x87 => self.container(code)?,
            b'a' | b'e' | b's' | b'u' | 0x90 => self.fill(code)?,
            b'q' | b'r' | 0x94 => {
                let slot = match code {
                    b'q' => u32::from(self.bytes(1)?[0]),
                    b'r' => self.u32()?,
                    _ => u32::try_from(self.memo.len()).map_err(|_| "the memo is full")?,
                };
                let top = *self.stack.last().ok_or("the stack is empty")?;
                self.memo.insert(slot, top);
            }
            b'h' | b'j' => {
                let slot = if code == b'h' { u32::from(self.bytes(1)?[0]) } else { self.u32()? };
                let id = *self.memo.get(&slot).ok_or_else(|| format!("the memo has no {slot}"))?;
                self.stack.push(id);
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Object::Global(module, name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Object::Text(module), Object::Text(name)) = (&self.objects[module], &self.objects[name]) else {
                    return Err("a class is not named by texts".to_owned());
                };
                let global = Object::Global(module.clone(), name.clone());
                self.push(global);
            }
            b'R' | 0x81 | 0x92 | b'b' | b'Q' => self.build(code)?,
            other => return Err(format!("the opcode {other:#04x} is none that torch.save writes")),
        }
        Ok(())
    }

    fn number(&mut self, code: u8) -> Step<()> {
        let object = match code {
            b'J' => Object::Int(i64::from(self.u32()? as i32)),
            b'K' => Object::Int(i64::from(self.bytes(1)?[0])),
            b'M' => Object::Int(i64::from(u16::from_le_bytes(self.array()?))),
            b'G' => Object::Float(f64::from_be_bytes(self.array()?)),
            _ => {
                let length = usize::from(self.bytes(1)?[0]);
                let bytes = self.bytes(length)?;
                // Longer ones are hashes or seeds, never sizes.
                if length > 8 {
                    Object::Opaque
                } else {
                    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                    let mut wide = [if negative { 0xff } else { 0 }; 8];
                    wide[..length].copy_from_slice(bytes);
                    Object::Int(i64::from_le_bytes(wide))
                }
            }
        };
        self.push(object);
        Ok(())
    }

    fn text(&mut self, code: u8) -> Step<()> {
        let length = match code {
            0x8c | b'U' | b'C' => u64::from(self.bytes(1)?[0]),
            b'X' | b'T' | b'B' => u64::from(self.u32()?),
            _ => u64::from_le_bytes(self.array()?),
        };
        let bytes = self.bytes(usize::try_from(length).map_err(|_| "a text is too long")?)?;
        let object = match code {
            b'X' | 0x8c | 0x8d => Object::Text(std::str::from_utf8(bytes).map_err(|_| "a text is no UTF-8")?.into()),
            b'T' | b'U' => Object::Text(String::from_utf8_lossy(bytes).into()),
            _ => Object::Opaque,
        };
        self.push(object);
        Ok(())
    }

    fn container(&mut self, code: u8) -> Step<()> {
        let object = match code {
            b']' | 0x8f => Object::List(Vec::new()),
            b')' => Object::Tuple(Vec::new()),
            b'}' => Object::Dict(Vec::new()),
            b't' => Object::Tuple(self.pop_mark()?),
            b'l' | 0x91 => Object::List(self.pop_mark()?),
            b'd' => Object::Dict(pairs(&self.pop_mark()?)?),
            _ => {
                let count = usize::from(code - 0x84);
                let first = self.stack.len().checked_sub(count).ok_or("the stack is too short")?;
                Object::Tuple(self.stack.split_off(first))
            }
        };
        self.push(object);
        Ok(())
    }

    fn fill(&mut self, code: u8) -> Step<()> {
        let items = match code {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_mark()?,
        };
        let target = *self.stack.last().ok_or("the stack is empty")?;
        match (&mut self.objects[target], code) {
            (Object::List(list), b'a' | b'e' | 0x90) => list.extend(items),
            (Object::Dict(dict), b's' | b'u') => dict.extend(pairs(&items)?),
            // An object of a class that is not looked up: what it is filled with is not looked at.
            (Object::Opaque, _) => {}
            (other, _) => return Err(format!("{} cannot be filled", other.name())),
        }
        Ok(())
    }

    fn build(&mut self, code: u8) -> Step<()> {
        let object = match code {
            b'b' => return self.pop().map(drop),
            b'Q' => self.storage()?,
            _ => {
                if code == 0x92 {
                    self.pop()?;
                }
                let (args, callee) = (self.pop()?, self.pop()?);
                match self.called(callee, args)? {
                    Called::Same(id) => {
                        self.stack.push(id);
                        return Ok(());
                    }
                    Called::New(object) => object,
                }
            }
        };
        self.push(object);
        Ok(())
    }

    /// `("storage", class, key, device, count)`.
    fn storage(&mut self) -> Step<Object> {
        let id = self.pop()?;
        let Object::Tuple(parts) = &self.objects[id] else {
            return Err("a reference is no tuple".to_owned());
        };
        let parts: Vec<&Object> = parts.iter().map(|id| &self.objects[*id]).collect();
        match parts[..] {
            [Object::Text(kind), Object::Global(_, class), Object::Text(key), ..] if **kind == *"storage" => {
                Ok(Object::Storage { class: class.clone(), key: key.clone() })
            }
            _ => Err("a reference is none to a storage".to_owned()),
        }
    }

    /// What a call would give, for the few that matter.
    fn called(&self, callee: Id, args: Id) -> Step<Called> {
        let (Object::Global(module, name), Object::Tuple(args)) = (&self.objects[callee], &self.objects[args]) else {
            return Ok(Called::New(Object::Opaque));
        };
        Ok(match (&**module, &**name) {
            ("collections", "OrderedDict" | "defaultdict") | ("builtins" | "__builtin__", "dict") => {
                Called::New(Object::Dict(Vec::new()))
            }
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Called::New(self.tensor(args)?),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") | ("torch", "Size") => {
                Called::Same(*args.first().ok_or("a parameter has no tensor")?)
            }
            ("torch._utils", name) if name.starts_with("_rebuild_") => {
                Called::New(Object::Unreadable(format!("torch._utils.{name}")))
            }
            _ => Called::New(Object::Opaque),
        })
    }

    /// `(storage, offset, shape, strides, ..)`.
    fn tensor(&self, args: &[Id]) -> Step<Object> {
        let sizes = |id: Id| -> Step<Vec<u64>> {
            match &self.objects[id] {
                Object::Tuple(items) | Object::List(items) => {
                    items.iter().take(AXES_MAX + 1).map(|id| self.size(*id)).collect()
                }
                _ => Err("a shape is no tuple".to_owned()),
            }
        };
        let [storage, offset, shape, strides, ..] = args[..] else {
            return Err("a tensor lacks its shape".to_owned());
        };
        let Object::Storage { class, key } = &self.objects[storage] else {
            return Err("a tensor has no storage".to_owned());
        };
        let (shape, strides) = (sizes(shape)?, sizes(strides)?);
        if shape.len() != strides.len() || shape.len() > AXES_MAX {
            return Err("a tensor has too many axes, or another number of strides".to_owned());
        }
        let (storage, class) = (key.clone(), class.clone());
        Ok(Object::Tensor(TensorRef { storage, class, offset: self.size(offset)?, shape, strides }))
    }

    fn size(&self, id: Id) -> Step<u64> {
        match self.objects[id] {
            Object::Int(value) => u64::try_from(value).map_err(|_| format!("{value} is no size")),
            _ => Err("a size is no number".to_owned()),
        }
    }

    /// The tensors of a dict and of the dicts within.
    fn collect(
        &self,
        dict: Id,
        prefix: &str,
        depth: usize,
        left: &mut usize,
        found: &mut Vec<(String, TensorRef)>,
    ) -> Step<()> {
        let Object::Dict(items) = &self.objects[dict] else { return Ok(()) };
        if depth > DEPTH_MAX {
            return Err(format!("dicts are nested more than {DEPTH_MAX} deep"));
        }
        for (key, value) in items {
            *left = left.checked_sub(1).ok_or("it holds more objects than any model")?;
            let key = match &self.objects[*key] {
                Object::Text(key) if key.len() > KEY_MAX => return Err("a key is longer than any name".to_owned()),
                Object::Text(key) => format!("{prefix}{key}"),
                Object::Int(key) => format!("{prefix}{key}"),
                _ => continue,
            };
            match &self.objects[*value] {
                Object::Tensor(tensor) => found.push((key, tensor.clone())),
                Object::Unreadable(builder) => return Err(format!("`{key}` is built by {builder}, which is not read")),
                Object::Dict(_) => self.collect(*value, &format!("{key}."), depth + 1, left, found)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn push(&mut self, object: Object) {
        self.objects.push(object);
        self.stack.push(self.objects.len() - 1);
    }

    fn pop(&mut self) -> Step<Id> {
        // A mark is below whatever is popped, or the pickle is no pickle.
        if self.marks.last() == Some(&self.stack.len()) {
            return Err("a mark stands where an object is wanted".to_owned());
        }
        self.stack.pop().ok_or_else(|| "the stack is empty".to_owned())
    }

    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("there is no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn bytes(&mut self, count: usize) -> Step<&[u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.input.len());
        let end = end.ok_or_else(|| format!("{count} bytes more are wanted, but it ends"))?;
        let bytes = &self.input[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Step<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn line(&mut self) -> Step<Rc<str>> {
        let length = self.input[self.at..].iter().position(|byte| *byte == b'\n').ok_or("a name does not end")?;
        let line = String::from_utf8_lossy(self.bytes(length)?).into();
        self.bytes(1)?;
        Ok(line)
    }
}

/// What a call gives.
enum Called {
    /// One of its arguments.
    Same(Id),
    New(Object),
}

fn pairs(items: &[Id]) -> Step<Vec<(Id, Id)>> {
    if items.len() % 2 != 0 {
        return Err("a key has no value".to_owned());
    }
    Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

#[cfg(test)]
#[path = "pickle_tests.rs"]
mod tests;
