"""The learner: keeps what tasks taught, finds it again for the next plan, and decides nothing."""
