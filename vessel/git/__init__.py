"""The Atlas' Git repository: polled, fetched into a bare clone on disk, exported per revision."""
