// Package tasks is a queue of tasks that outlives its workers and its leader: it
// is kept in a directory of the realm, a file a task.
//
//	term, err := sigma.Elect(ctx, "/mr/job/leader", nil)
//	q, err := tasks.Open(ctx, tasks.In(term.Names()), "/mr/job/maps", tasks.Options{})
//	err = q.Submit(ctx, "0001", payload)
//	t, ok, err := q.Acquire(ctx)
//	first, err := q.Done(ctx, t.ID, t.Attempt, result)
//
// A queue has one writer at a time, the leader; a term's names fence it, so that
// one who led before can change nothing. Beside that every write names the version
// that it replaces. A new leader's Open takes over what the last one left: tasks
// that were done stay done, tasks under way are waiting again.
//
// Results are small, and may name files. When those turn out to be gone, Redo has
// the task done again, by an attempt of a new number.
//
// A task is given out any number of times (after a failure, after a change of the
// leader, or as a second copy of a straggler: Again), and each time is an attempt
// with a number of its own. The first Done is the task's one result, for ever;
// later ones are told so and change nothing. An attempt must therefore write what
// it makes where no other attempt does, and its result says where that is.
//
// A task that will be given out at once can be submitted as begun ([New.Begun]): its
// first attempt is written down with it, and giving it out costs no write. A leader
// that takes over cannot know whether that attempt was begun, and gives out the second.
package tasks
