package mr

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugeFrom is the size of room that is worth large pages.
const hugeFrom = 8 << 20

// mapped is an empty slice with room for n values outside the heap; T has no
// pointers. Pages are there when they are touched, 2 MiB at a time where the kernel
// has such: so what grows in there is never copied, leaves no garbage, and costs few
// page faults. Where that is not worth it, or there is no such room, the slice grows
// on the heap. After free nothing in it may be used.
func mapped[T any](n int) (room []T, free func()) {
	var v T
	size := n * int(unsafe.Sizeof(v))
	if size < hugeFrom {
		return nil, func() {}
	}
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, func() {}
	}
	unix.Madvise(b, unix.MADV_HUGEPAGE)
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n)[:0], func() { unix.Munmap(b) }
}
