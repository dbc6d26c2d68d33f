"""What every daemon of the suite shares: contracts, core, io and supervise, one above the other."""
