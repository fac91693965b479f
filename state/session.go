package state

// loseCheck invalidates the sessions that depend on a check which has turned
// critical or was removed. Node and check are found whatever their case.
func (w *Writer) loseCheck(node, check string) {}

// loseNode invalidates the sessions of a node that was removed.
func (w *Writer) loseNode(node string) {}
