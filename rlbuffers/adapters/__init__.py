"""Buffers as objects of other libraries, one file each: what ``Buffer.to_tianshou()`` and its like return."""
