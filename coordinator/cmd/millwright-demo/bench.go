package main

import "context"

type benchCommand struct{}

func (c *benchCommand) Run(ctx context.Context) error { return nil }
