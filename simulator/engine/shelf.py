"""The jobs of one API in one world, indexed so that a page of ten costs the same among a thousand and among a million.

`sortedcontainers` is the one library the engine uses: a sorted list that counts and slices by rank, pure and deterministic.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sortedcontainers import SortedList

from simulator.engine.job import Job, State

Label = tuple[str, str]
SortKey = Callable[[Job], Any]
Numbers = Any
"""A sorted sequence of job numbers: a SortedList or a list."""


class Shelf:
    """Jobs by number, by state and by label; `jobs` itself is shared with the world."""

    def __init__(self, jobs: Sequence[Job | None]) -> None:
        self._jobs = jobs
        self._all: SortedList = SortedList()
        self._by_state: dict[State, SortedList] = {state: SortedList() for state in State}
        # Numbers only grow, so a plain list stays sorted; most labels have one job, whose number then stands for the list.
        self._by_label: dict[str, dict[str, int | list[int]]] = {}
        # Names that some job carries twice, so that it may stand in two lists of one group.
        self._repeated: set[str] = set()
        self._orders: dict[str, tuple[SortKey, SortedList]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def put(self, job: Job, before: Job | None) -> None:
        """Take note of a new job (`before` is None) or of a job that changed."""
        number = job.number
        if before is None:
            self._all.add(number)
            self._by_state[job.state].add(number)
            names: set[str] = set()
            for name, value in job.submit.labels:
                if name in names:
                    self._repeated.add(name)
                names.add(name)
                labelled = self._by_label.setdefault(name, {})
                numbers = labelled.setdefault(value, number)
                if isinstance(numbers, int):
                    if numbers != number:
                        labelled[value] = [numbers, number]
                elif numbers[-1] != number:
                    numbers.append(number)
        elif before.state is not job.state:
            self._by_state[before.state].remove(number)
            self._by_state[job.state].add(number)
        for key, order in self._orders.values():
            if before is not None:
                earlier = key(before)
                if earlier == key(job):
                    continue
                order.remove((earlier, number))
            order.add((key(job), number))

    def discard(self, job: Job) -> None:
        """Forget a job that was removed."""
        number = job.number
        self._all.remove(number)
        self._by_state[job.state].remove(number)
        for name, value in dict.fromkeys(job.submit.labels):
            labelled = self._by_label[name]
            numbers = labelled[value]
            if isinstance(numbers, list):
                del numbers[bisect_left(numbers, number)]
            if numbers in (number, []):
                del labelled[value]
        for key, order in self._orders.values():
            order.remove((key(job), number))

    def in_state(self, state: State) -> Sequence[int]:
        """Numbers of the jobs in a state, ascending."""
        numbers: Sequence[int] = self._by_state[state]
        return numbers

    def select(
        self,
        *,
        states: Iterable[State] | None = None,
        labels: Iterable[Iterable[Label]] = (),
        offset: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Job]:
        """A page of jobs in the order they were made.

        Args:
            states: any of these; None means all.
            labels: groups; a job must have a label of each group.
        """
        groups = self._groups(states, labels)
        if limit == 0:
            numbers: list[int] = []
        elif len(groups) == 1:
            numbers = _page(groups[0], offset, limit, newest_first)
        else:
            groups.sort(key=lambda lists: sum(map(len, lists)))
            numbers = []
            wanted = None if limit is None else offset + limit
            for number in _merged(groups[0], newest_first):
                if all(any(_has(numbers_, number) for numbers_ in lists) for lists in groups[1:]):
                    numbers.append(number)
                    if len(numbers) == wanted:
                        break
            numbers = numbers[offset:]
        return self._found(numbers)

    def count(self, *, states: Iterable[State] | None = None, labels: Iterable[Iterable[Label]] = ()) -> int:
        """How many jobs `select` would find without a limit."""
        groups = self._groups(states, labels)
        if len(groups) == 1:
            return sum(map(len, groups[0]))
        return len(self.select(states=states, labels=labels))

    def sorted_by(
        self, name: str, key: SortKey, *, offset: int, limit: int, descending: bool = False
    ) -> list[Job]:
        """A page of all jobs in the order of `key`, ties in the order they were made; descending is the same read backwards.

        The index for a `name` is built when first asked for and kept up to date from then on.
        """
        if name not in self._orders:
            self._orders[name] = (key, SortedList((key(job), job.number) for job in self._found(self._all)))
        order = self._orders[name][1]
        if descending:
            end = max(len(order) - offset, 0)
            page = order.islice(max(end - limit, 0), end, reverse=True)
        else:
            page = order.islice(offset, offset + limit)
        return self._found(number for _, number in page)

    def _found(self, numbers: Iterable[int]) -> list[Job]:
        return [job for number in numbers if (job := self._jobs[number]) is not None]

    def _groups(
        self, states: Iterable[State] | None, labels: Iterable[Iterable[Label]]
    ) -> list[list[Numbers]]:
        """One list of sorted lists per condition; a job fits when it is in one list of each."""
        groups: list[list[Numbers]] = []
        if states is not None:
            groups.append([self._by_state[state] for state in dict.fromkeys(states)])
        for alternatives in labels:
            wanted = dict.fromkeys(alternatives)
            found = [numbers for label in wanted if (numbers := self._labelled(label))]
            if len(found) > 1 and not self._are_exclusive(wanted):
                found = [sorted(set().union(*found))]
            groups.append(found)
        return groups or [[self._all]]

    def _labelled(self, label: Label) -> list[int]:
        """Numbers of the jobs with this label, ascending."""
        numbers = self._by_label.get(label[0], {}).get(label[1], [])
        return numbers if isinstance(numbers, list) else [numbers]

    def _are_exclusive(self, labels: Iterable[Label]) -> bool:
        """Whether no job has two of these labels: they are of one name, and no job has that name twice."""
        names = {name for name, _ in labels}
        return len(names) == 1 and names.isdisjoint(self._repeated)


def _page(lists: list[Numbers], offset: int, limit: int | None, newest_first: bool) -> list[int]:
    """Ranks `offset` to `offset + limit` of the union of disjoint sorted lists."""
    total = sum(map(len, lists))
    end = total if limit is None else min(offset + limit, total)
    if offset >= end:
        return []
    low, high = (total - end, total - offset) if newest_first else (offset, end)
    if len(lists) == 1:
        page = list(lists[0][low:high])
    else:
        page = _union_slice(lists, low, high)
    if newest_first:
        page.reverse()
    return page


def _union_slice(lists: list[Numbers], low: int, high: int) -> list[int]:
    """Elements of rank `low` to `high` of the union: near an end by sorting what is there, else by bisecting for the first."""
    wanted = high - low
    from_end = sum(map(len, lists)) - low
    if high <= _NEAR_AN_END:
        return sorted(number for numbers in lists for number in numbers[:high])[low:high]
    if from_end <= _NEAR_AN_END:
        return sorted(number for numbers in lists for number in numbers[-from_end:])[-from_end:][:wanted]
    smallest = min(numbers[0] for numbers in lists if numbers)
    largest = max(numbers[-1] for numbers in lists if numbers)
    while smallest < largest:
        middle = (smallest + largest) // 2
        if sum(_rank_after(numbers, middle) for numbers in lists) > low:
            largest = middle
        else:
            smallest = middle + 1
    first = smallest
    found: list[int] = []
    for numbers in lists:
        start = _rank_after(numbers, first - 1)
        found.extend(numbers[start : start + wanted])
    return sorted(found)[:wanted]


_NEAR_AN_END = 200


def _merged(lists: list[Numbers], newest_first: bool) -> Iterable[int]:
    if len(lists) == 1:
        return reversed(lists[0]) if newest_first else lists[0]
    return sorted((number for numbers in lists for number in numbers), reverse=newest_first)


def _rank_after(numbers: Numbers, number: int) -> int:
    """How many are at most `number`."""
    rank: int = bisect_right(numbers, number) if type(numbers) is list else numbers.bisect_right(number)
    return rank


def _has(numbers: Numbers, number: int) -> bool:
    rank = _rank_after(numbers, number)
    return rank > 0 and numbers[rank - 1] == number
