module galley/pause

go 1.21
