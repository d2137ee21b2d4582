"""Tests of explanations build markets as those of the program do."""
