"""Frames with several people: who is where, and which part of whom each pixel is. Imports no torch.

parser = PeopleParser.open("cihp_global.onnx", ["cihp_local.onnx"])
people = open_instances("people.json").people("street", frame.shape[:2])
result = parser(frame, select_people(people))
"""

from .instance_files import Instances, open_instances
from .instances import Person, mask_nms, people_of_ids, select_people
from .part_instances import PartInstance
from .people_parser import PeopleParser
from .people_result import PeopleResult
from .result_files import PeopleWriter, StoredPeople, read_people

__all__ = [
    "Instances",
    "PartInstance",
    "PeopleParser",
    "PeopleResult",
    "PeopleWriter",
    "Person",
    "StoredPeople",
    "mask_nms",
    "open_instances",
    "people_of_ids",
    "read_people",
    "select_people",
]
