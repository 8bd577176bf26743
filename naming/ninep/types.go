package ninep

// Types of 9P2000.L. The answer's type is the request's plus one.
const (
	tLerror      = 6 // only its answer exists
	tStatfs      = 8
	tLopen       = 12
	tLcreate     = 14
	tSymlink     = 16
	tMknod       = 18
	tRename      = 20
	tReadlink    = 22
	tGetattr     = 24
	tSetattr     = 26
	tXattrwalk   = 30
	tXattrcreate = 32
	tReaddir     = 40
	tFsync       = 50
	tLock        = 52
	tGetlock     = 54
	tLink        = 70
	tMkdir       = 72
	tRenameat    = 74
	tUnlinkat    = 76
	tVersion     = 100
	tAuth        = 102
	tAttach      = 104
	tFlush       = 108
	tWalk        = 110
	tRead        = 116
	tWrite       = 118
	tClunk       = 120
	tRemove      = 122
)

// Types of σ's additions.
const (
	tSerror   = 128 // only its answer exists
	tSattach  = 130
	tSwalk    = 132
	tSstat    = 134
	tSget     = 136
	tSput     = 138
	tScreate  = 140
	tSopen    = 142
	tSremove  = 144
	tSrename  = 146
	tSsetattr = 148
	tSreaddir = 150
	tSwatch   = 152
	tSgrant   = 154
	tSrenew   = 156
	tSrevoke  = 158
	tSseen    = 160
	tSabandon = 162
)

// firstSigma is the lowest type that the plain dialect does not have.
const firstSigma = 128

// Versions that are spoken.
const (
	versionPlain = "9P2000.L"
	versionSigma = "9P2000.L.sigma1"
	unknown      = "unknown"
)

const (
	noTag = 1<<16 - 1
	noFid = 1<<32 - 1

	headerSize = 7  // size, type, tag
	readHead   = 11 // of an Rread, before its bytes
	writeHead  = 23 // of a Twrite, before its bytes
	ioHead     = 24 // what the Linux client keeps back from msize

	minMsize     = 4 << 10
	maxMsize     = 1 << 20           // of the plain dialect
	maxSigma     = maxMsize + 64<<10 // a Put of the largest small file, its path and its target fit
	maxPlainWalk = 16                // names of one Twalk
	maxNames     = 8 << 10           // of σ's messages: MaxPath in names of one byte
)
