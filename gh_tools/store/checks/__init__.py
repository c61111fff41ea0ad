"""Does a store have the attributes and arrays of its schema, and values that can be?

All of it is asked whenever a store is opened: it reads metadata, pointers and small arrays, no matrices. Each
check gives sentences that name attribute or array, or nothing.
"""
