"""The audit of many cells at once, held to `allocator.audit.audit` by a test on random markets."""

from allocator.audit.block.judge import BlockAudit, audit_block, check_block
from allocator.audit.block.limits import DifferentRows
from allocator.audit.block.stack import alike, evaluable

__all__ = ["BlockAudit", "DifferentRows", "alike", "audit_block", "check_block", "evaluable"]
