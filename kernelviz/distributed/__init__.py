"""Image sets over many processes and machines: the engines that run the chunks, and what is gathered from them."""

from kernelviz.distributed.engines import Chunk as Chunk
from kernelviz.distributed.engines import ChunkItem as ChunkItem
from kernelviz.distributed.engines import Engine as Engine
from kernelviz.distributed.engines import InThisProcess as InThisProcess
from kernelviz.distributed.engines import WorkerLostError as WorkerLostError
from kernelviz.distributed.gathering import Gathering as Gathering
from kernelviz.distributed.gathering import gather_many as gather_many
from kernelviz.distributed.ray_engine import Ray as Ray
