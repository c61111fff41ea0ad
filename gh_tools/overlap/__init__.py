"""S of any structure: from GPAW's basis, or from functions of the distance that were fitted to labels."""
