package main

import "errors"

func runCapture([]string) error { return errors.New("not yet") }
