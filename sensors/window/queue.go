package window

// queue is a first-in first-out buffer in one piece of memory, so that its content
// can be handed out as a slice. It allocates only while it grows.
type queue[T any] struct {
	buf  []T
	head int
}

func (q *queue[T]) live() []T { return q.buf[q.head:] }
func (q *queue[T]) len() int  { return len(q.buf) - q.head }

// drop removes the first n elements.
func (q *queue[T]) drop(n int) {
	q.head += n
	if q.head == len(q.buf) {
		q.buf, q.head = q.buf[:0], 0
	}
}

// insert makes room for n elements before live element i and returns the room.
func (q *queue[T]) insert(i, n int) []T {
	if len(q.buf)+n > cap(q.buf) {
		q.makeRoom(n)
	}
	i += q.head
	end := len(q.buf)
	q.buf = q.buf[:end+n]
	copy(q.buf[i+n:], q.buf[i:end])
	return q.buf[i : i+n]
}

// makeRoom moves the content to the front. It grows the memory when less than a
// quarter of it would then be free: moving must stay rare compared with adding.
func (q *queue[T]) makeRoom(n int) {
	live := q.live()
	need := len(live) + n
	to := q.buf
	if need > cap(q.buf)/4*3 {
		to = make([]T, 2*need)
	}
	q.buf = to[:copy(to[:len(live)], live)]
	q.head = 0
}
