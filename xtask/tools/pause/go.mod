module holdfast.dev/tools/pause

go 1.26
