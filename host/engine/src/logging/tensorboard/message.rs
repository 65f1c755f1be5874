//! The messages in event files, of which these are the fields that are written: TensorFlow's event.proto and summary.proto.

use prost::{Message, Oneof};

/// The version of event files, which the first record of each says.
pub(super) const FILE_VERSION: &str = "brain.Event:2";
/// The status of a session that has started.
pub(super) const START: i32 = 1;

/// A record of an event file.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// When it was written, in seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    /// The step it is of.
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// What happened.
    #[prost(oneof = "What", tags = "3, 5, 7")]
    pub what: Option<What>,
}

/// What an event says.
#[derive(Clone, PartialEq, Oneof)]
pub enum What {
    /// What the file is.
    #[prost(string, tag = "3")]
    FileVersion(String),
    /// Numbers and pictures.
    #[prost(message, tag = "5")]
    Summary(Summary),
    /// A session of the run.
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

/// That a session started or ended.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SessionLog {
    /// 1 where it starts: what was read before of this step and later ones no longer counts.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// Numbers and pictures of a step.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    /// Each of them.
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<SummaryValue>,
}

/// A number or a picture.
#[derive(Clone, PartialEq, Message)]
pub struct SummaryValue {
    /// Its name: `train/loss`.
    #[prost(string, tag = "1")]
    pub tag: String,
    /// What it is.
    #[prost(oneof = "Value", tags = "2, 4")]
    pub value: Option<Value>,
}

/// What a value of a summary is.
///
/// TensorFlow 2 writes either as a tensor with metadata. Every reader takes these older forms, TensorBoard by a conversion
/// of its own; many a script knows no other.
#[derive(Clone, PartialEq, Oneof)]
pub enum Value {
    /// A number.
    #[prost(float, tag = "2")]
    SimpleValue(f32),
    /// A picture, which may move.
    #[prost(message, tag = "4")]
    Image(Image),
}

/// A picture.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Image {
    /// Pixels.
    #[prost(int32, tag = "1")]
    pub height: i32,
    /// Pixels.
    #[prost(int32, tag = "2")]
    pub width: i32,
    /// 3 for RGB.
    #[prost(int32, tag = "3")]
    pub colorspace: i32,
    /// A PNG or GIF file.
    #[prost(bytes = "vec", tag = "4")]
    pub encoded_image_string: Vec<u8>,
}
