"""Updates of a training run, as a trainer streams them."""

import math

from deepmath.trainer.v1 import trainer_pb2 as pb


def metrics(step: int, **values: float) -> pb.WatchRunResponse:
    return pb.WatchRunResponse(metrics=pb.StepMetrics(step=step, metrics=values))


RUN = pb.Run(name="lesson", status=pb.STATUS_RUNNING, step=1, steps=10)
UPDATES = [
    pb.WatchRunResponse(run=RUN),
    metrics(1, reward=0.5, accuracy=0.25, loss=math.nan),
    pb.WatchRunResponse(
        trace=pb.SampleTrace(step=1, problem="[red]1 + 1", gold="2", answer="3", reward=0.1, text="so")
    ),
    pb.WatchRunResponse(run=pb.Run(name="lesson", status=pb.STATUS_DONE, step=10, before=pb.Evaluation(accuracy=0.5))),
]
WAITING = pb.WatchRunResponse(
    run=pb.Run(name="lesson", status=pb.STATUS_WAITING, steps=10, waiting_for="the generator at g:1 is [red]loading\n")
)
