package history

// Feed is what one follower of a change feed was told.
type Feed struct {
	events []feedEvent
}

type feedEvent struct {
	at    int64 // event of the recorder
	entry *Entry
	gone  bool
}
