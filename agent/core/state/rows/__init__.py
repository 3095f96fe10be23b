# SPDX-License-Identifier: Apache-2.0
"""What the store holds to what is remembered, whichever version and whatever clock wrote it."""
