// Command mkos builds the OS from this source tree.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/bulkhead-os/bulkhead/iso"
	"github.com/bulkhead-os/bulkhead/iso/gobuild"
	"github.com/bulkhead-os/bulkhead/iso/rootfs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "mkos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	cacheHome, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet("mkos", flag.ContinueOnError)
	repo := flags.String("repo", ".", "source tree")
	out := flags.String("out", "dist", "folder for artifacts/ and images/")
	cache := flags.String("cache", filepath.Join(cacheHome, "bulkhead"), "folder for packages and intermediate results")
	age := flags.Duration("max-list-age", 24*time.Hour, "fetch package lists that are older")
	archives := flags.Bool("archives", false, "also write whole image archives to images/")
	fast := flags.Bool("fast", false, "compress for speed: a large image, in seconds, to try a change")
	console := flags.Bool("console", false, "make the Debian console only: artifacts/console-debian.tar.zst")
	services := flags.Bool("services", false, "make the images of optional services only: artifacts/services/")
	goflags := flags.Bool("goflags", false, "print the GOFLAGS that the engine is built with, and do nothing")
	machineTools := flags.Bool("machine-tools", false, "bring QEMU and what else virtual machines need, print the folder of commands, build nothing")
	keys := flags.String("release-keys", "", "`file` of one or two public minisign keys: ros os upgrade believes what they have signed")
	makeRelease := flags.Bool("release", false, "make the folder of a release from what was built: release/")
	key := flags.String("key", "", "`file` of the secret minisign key that -release signs with, without a password (minisign -G -W)")
	twice := flags.Bool("twice", false, "build again from scratch and compare")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *goflags {
		fmt.Println(gobuild.GoFlags())
		return nil
	}
	cfg := iso.Config{
		Repo: *repo, Out: *out, MaxListAge: *age, Archives: *archives, Compression: rootfs.Small(),
		Packages: filepath.Join(*cache, "packages"), Derived: filepath.Join(*cache, "derived"),
		ReleaseKeys: *keys, SigningKey: *key,
		Log: os.Stderr, Getenv: os.Getenv,
	}
	if *fast {
		cfg.Compression = rootfs.Fast()
	}
	if *key != "" && !*makeRelease {
		return errors.New("-key goes with -release")
	}
	for _, dir := range []*string{&cfg.Repo, &cfg.Out, &cfg.Packages, &cfg.Derived} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
	switch {
	case *console:
		return iso.BuildConsole(ctx, cfg)
	case *services:
		return iso.BuildServices(ctx, cfg)
	case *machineTools:
		commands, err := iso.MachineTools(ctx, cfg)
		if err == nil {
			fmt.Println(commands)
		}
		return err
	case *makeRelease:
		return iso.Release(ctx, cfg)
	case *twice:
		return iso.BuildTwice(ctx, cfg)
	}
	return iso.Build(ctx, cfg)
}
