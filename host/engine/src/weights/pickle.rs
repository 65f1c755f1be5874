//! Pickles as PyTorch writes them, read as data: nothing that they name is looked up or called.

use std::collections::HashMap;
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

/// Most objects of a pickle.
const OBJECTS_MAX: usize = 8_000_000;

/// Most axes of a tensor, which is libtorch's own limit.
const AXES_MAX: usize = 64;

/// What a pickle makes.
#[derive(Debug)]
pub(super) struct Made {
    /// All objects, in order.
    pub objects: Vec<Object>,
    /// The one that the pickle is of.
    pub top: Id,
    /// Bytes of the pickle.
    pub length: usize,
}

/// Reads the pickle that `bytes` begin with.
///
/// # Errors
/// What is wrong and at which byte.
pub(super) fn read(bytes: &[u8]) -> Result<Made, String> {
    let mut machine = Machine {
        input: bytes,
        at: 0,
        objects: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied: 0,
    };
    match machine.run() {
        Ok(top) => Ok(Made { objects: machine.objects, top, length: machine.at }),
        Err(reason) => Err(format!("pickle, byte {}: {reason}", machine.at)),
    }
}

/// Place of an object among all.
pub(super) type Id = usize;

/// An object.
#[derive(Debug)]
pub(super) enum Object {
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
    /// What it is, for a person.
    pub fn name(&self) -> &'static str {
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

    /// Axes or letters that it has copies of.
    fn copied(&self) -> usize {
        match self {
            Self::Tensor(tensor) => 2 * tensor.shape.len(),
            Self::Unreadable(builder) => builder.len(),
            _ => 0,
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
    /// Items of lists, axes of tensors and letters that calls have copied: the same may be an argument many times.
    copied: usize,
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
                self.copy(self.pairs_of(args))?;
                match self.called(callee, args)? {
                    Called::Same(id) => {
                        self.stack.push(id);
                        return Ok(());
                    }
                    Called::New(object) => {
                        self.copy(object.copied())?;
                        object
                    }
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
            [Object::Text(kind), Object::Global(_, class), Object::Text(key), _, _, ref part @ ..]
                if **kind == *"storage" =>
            {
                // In the old format a storage may be a part of another.
                if part.iter().any(|part| !matches!(part, Object::None)) {
                    return Err("a storage is a part of another".to_owned());
                }
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
            ("collections", "OrderedDict") | ("builtins" | "__builtin__", "dict") => {
                Called::New(Object::Dict(self.items(args)?))
            }
            ("collections", "defaultdict") => Called::New(Object::Dict(Vec::new())),
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

    /// Counts items that are copied.
    fn copy(&mut self, count: usize) -> Step<()> {
        self.copied += count;
        if self.copied > OBJECTS_MAX { Err("its lists are copied without end".to_owned()) } else { Ok(()) }
    }

    /// How many items the first argument of a call lists.
    fn pairs_of(&self, args: Id) -> usize {
        let Object::Tuple(args) = &self.objects[args] else { return 0 };
        match args.first().map(|list| &self.objects[*list]) {
            Some(Object::List(list)) => list.len(),
            _ => 0,
        }
    }

    /// The pairs of a dict that is made of a list of them, as Python 2 did.
    fn items(&self, args: &[Id]) -> Step<Vec<(Id, Id)>> {
        let Some(Object::List(list)) = args.first().map(|list| &self.objects[*list]) else { return Ok(Vec::new()) };
        let pair = |id: &Id| match &self.objects[*id] {
            Object::Tuple(pair) | Object::List(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err("a dict is made of something else than pairs".to_owned()),
        };
        list.iter().map(pair).collect()
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
    if !items.len().is_multiple_of(2) {
        return Err("a key has no value".to_owned());
    }
    Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}
