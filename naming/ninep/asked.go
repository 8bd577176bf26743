package ninep

// newAsked makes an empty request of a type; nil: there is none.
func newAsked(typ uint8) asked {
	switch typ {
	case tStatfs:
		return &statfs{}
	case tLopen:
		return &lopen{}
	case tLcreate:
		return &lcreate{}
	case tSymlink:
		return &symlink{}
	case tMknod:
		return &mknod{}
	case tRename:
		return &rename{}
	case tReadlink:
		return &readlink{}
	case tGetattr:
		return &getattr{}
	case tSetattr:
		return &setattr{}
	case tXattrwalk:
		return &xattrwalk{}
	case tXattrcreate:
		return &xattrcreate{}
	case tReaddir:
		return &readdir{}
	case tFsync:
		return &fsync{}
	case tLock:
		return &lock{}
	case tGetlock:
		return &getlock{}
	case tLink:
		return &link{}
	case tMkdir:
		return &mkdir{}
	case tRenameat:
		return &renameat{}
	case tUnlinkat:
		return &unlinkat{}
	case tAuth:
		return &auth{}
	case tAttach:
		return &attach{}
	case tWalk:
		return &walk{}
	case tRead:
		return &read{}
	case tWrite:
		return &write{}
	case tClunk:
		return &clunk{}
	case tRemove:
		return &remove{}
	}
	return newSigma(typ)
}

func newSigma(typ uint8) asked {
	switch typ {
	case tSattach:
		return &sattach{}
	case tSwalk:
		return &swalk{}
	case tSstat:
		return &sstat{}
	case tSget:
		return &sget{}
	case tSput:
		return &sput{}
	case tScreate:
		return &screate{}
	case tSopen:
		return &sopen{}
	case tSremove:
		return &sremove{}
	case tSrename:
		return &srename{}
	case tSsetattr:
		return &ssetattr{}
	case tSreaddir:
		return &sreaddir{}
	case tSwatch:
		return &swatch{}
	case tSgrant:
		return &sgrant{}
	case tSrenew:
		return &srenew{}
	case tSrevoke:
		return &srevoke{}
	case tSseen:
		return &sseen{}
	case tSabandon:
		return &sabandon{}
	}
	return nil
}

// newAnswer makes an empty answer of a type; nil: there is none.
func newAnswer(typ uint8) message {
	switch typ - 1 {
	case tLerror:
		return &lerror{}
	case tStatfs:
		return &rstatfs{}
	case tLopen, tLcreate:
		return &opened{}
	case tSymlink, tMknod, tMkdir, tAttach, tAuth:
		return &rqid{}
	case tReadlink:
		return &rreadlink{}
	case tGetattr:
		return &rgetattr{}
	case tXattrwalk:
		return &rxattrwalk{}
	case tReaddir, tRead:
		return &rdata{}
	case tLock:
		return &rlock{}
	case tGetlock:
		return &rgetlock{}
	case tVersion:
		return &version{}
	case tWalk:
		return &rwalk{}
	case tWrite:
		return &rwrite{}
	case tRename, tSetattr, tXattrcreate, tFsync, tLink, tRenameat, tUnlinkat, tFlush, tClunk, tRemove, tSrenew, tSrevoke, tSseen, tSabandon:
		return &empty{}
	case tSerror:
		return &serror{}
	case tSattach, tSwalk, tSstat, tSput, tSremove, tSsetattr:
		return &walked{}
	case tSget:
		return &rsget{}
	case tScreate, tSopen:
		return &ropened{}
	case tSrename:
		return &rsrename{}
	case tSreaddir:
		return &rsreaddir{}
	case tSwatch:
		return &rswatch{}
	case tSgrant:
		return &lease{}
	}
	return nil
}
