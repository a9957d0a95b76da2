// planner: the planner as our functions know it, whatever the session has left of it.
//
// Somebody switches off a way of reading for one statement of their own, or another client of a pool did and left it so.  A
// function of ours that then reads a table for a row of it would be slow, and a plan that it keeps would stay slow.
#pragma once

namespace sluice {

/// Until plan_as_before(returned value) all that the planner has may be used.  Costs a few comparisons where nothing was
/// switched off, and returns 0.  An error needs no restoring: the abort of the (sub)transaction does it.
int plan_as_usual();

/// The same for a statement that takes rows by an array of their ids and locks them: by an index, in the order of the ids.  A
/// scan of a bitmap or of the table would go by place.
int plan_by_index();

void plan_as_before(int level);

} // namespace sluice
