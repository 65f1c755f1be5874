"""Writes golden.tfevents with TensorBoard's own writer: pip install tensorboard==2.21.0, then python golden.py."""

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

image = Summary.Image(height=2, width=3, colorspace=3, encoded_image_string=bytes(range(200)))
events = [
    Event(wall_time=1700000000.25, file_version="brain.Event:2"),
    Event(wall_time=1700000000.5, step=1, session_log=SessionLog(status=SessionLog.START)),
    Event(
        wall_time=1700000001.5,
        step=300,
        summary=Summary(
            value=[
                Summary.Value(tag="train/loss", simple_value=0.1),
                Summary.Value(tag="train/samples_seen", simple_value=600.0),
            ]
        ),
    ),
    Event(wall_time=1700000002.75, step=300, summary=Summary(value=[Summary.Value(tag="preview/sheet", image=image)])),
]
with open("golden.tfevents", "wb") as file:
    writer = RecordWriter(file)
    for event in events:
        writer.write(event.SerializeToString())
    writer.flush()
